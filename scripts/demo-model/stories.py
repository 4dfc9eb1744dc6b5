"""Short stories from a grammar: a cast is drawn once, then a plot's sentences are filled in with it.

A plot is a row of beats and a beat is a row of alternatives, one of which is told ("" leaves the beat out). Everything that
must not change within a story (hero, friend, treasure, places, weather) lives in the `Cast`.
"""

from random import Random
from typing import NamedTuple
from zlib import crc32

from lexicon import (ANIMALS, BOYS, COLOURS, FANTASY, FEMALE_KINDS, FOODS, GIRLS, JOBS, MALE_KINDS, PET_NAMES, PLACES, TRAITS,
                     TREASURES, WEATHER, capitalised, with_article)

PRONOUNS = {"she": ("she", "her", "her", "herself"), "he": ("he", "him", "his", "himself"), "it": ("it", "it", "its", "itself")}
PASTIMES = ["sing", "look at the stars", "collect smooth stones", "listen to stories", "sit in the sun", "draw pictures",
            "count the clouds", "dream of far places", "play hide and seek", "watch the birds", "tell jokes", "help others"]
FEARS = {  # fear: (what the friend advises, how the brave moment looks)
    "the dark": ("Look up, the stars are little lamps", "{hero} walked through the dark and counted the stars"),
    "deep water": ("Put in one foot first, and I will hold you", "{hero} stepped into the water and began to swim"),
    "thunder": ("Count slowly, and the thunder will pass", "{hero} counted to ten while the thunder rolled"),
    "high places": ("Do not look down, look at me", "{hero} climbed to the top and saw the whole land"),
    "strangers": ("Every friend was a stranger once", "{hero} walked up to a stranger and said hello"),
    "the big bridge": ("Take one step, and then one more", "{hero} crossed the big bridge step by step"),
}
WORKS = {  # what is made: (first failure, what was wrong, what it did in the end)
    "a kite": ("it fell to the ground", "its tail is too short", "it flew higher than the trees"),
    "a boat": ("it sank at once", "there is a hole in it", "it floated like a leaf"),
    "a cake": ("it was as hard as a stone", "there is no butter in it", "it smelled sweet and tasted wonderful"),
    "a bridge": ("it broke in the middle", "the wood is too thin", "everybody could cross the stream on it"),
    "a flute": ("it made no sound", "its holes are too small", "it sang like a bird"),
    "a clock": ("it stopped after a minute", "one wheel is loose", "it ticked all day and all night"),
    "a tree house": ("the roof fell down", "the nails are too short", "it stood firm in every wind"),
    "a lantern": ("it gave no light", "the wick is wet", "it glowed like a little moon"),
}
GOALS = {  # what the hero wants to see: what it was like
    "the sea": "The water was wide and blue, and the waves sang", "the top of the mountain": "The world below looked small and still",
    "the big city": "There were lights and voices everywhere", "the end of the rainbow": "The light danced in every colour",
    "the great waterfall": "The water fell like silver and shook the ground", "the oldest tree": "It was as wide as a house and full of birds",
    "the lighthouse": "Its lamp turned slowly and lit the waves", "the snow": "It was white and soft and lay on everything",
}
TRAPS = {"stuck in the mud": "pulled and pulled", "caught in a net": "cut the ropes one by one", "trapped under a branch": "lifted the branch",
         "stuck in a deep hole": "let down a long rope", "lost in the fog": "called and rang a bell"}
SEEDS = {"sunflower": "tall and yellow", "pumpkin": "round and orange", "apple tree": "strong and green", "rose": "red and sweet",
         "bean": "long and green", "strawberry": "small and red"}


class Cast(dict):
    """Slots of a story. A list value is drawn anew at each mention; a capital letter asks for the start of a sentence."""

    def __init__(self, rng: Random, slots: dict):
        super().__init__(slots)
        self.rng = rng

    def __getitem__(self, key: str) -> str:
        if key[0].isupper():
            return capitalised(self[key[0].lower() + key[1:]])
        value = super().__getitem__(key)
        return self.rng.choice(value) if isinstance(value, list) else value

    def tell(self, alternatives: list[str]) -> str:
        return self.rng.choice(alternatives).format_map(self)


class Plot(NamedTuple):
    who: str  # "a fox {who}": the subject in a few words
    beats: list[list[str]]
    questions: list[tuple[str, str]]


OPENINGS = [
    "Once upon a time there was {a_hero} who lived {home}.", "Once upon a time there was {a_hero} who lived {home}.",
    "Once upon a time, {a_hero} lived {home}.", "There once was {a_hero} who lived {home}.", "{A_hero} lived {home}.",
    "Long ago, {a_hero} lived {home}.", "{Home}, there lived {a_hero}.", "Far away, {home}, there lived {a_hero}.",
    "This is the story of {a_hero} who lived {home}.", "{The_hero} lived {home}.", "There was once {a_hero} {who}.",
    "Once upon a time there was {a_hero} {who}.", "One {first_day}, {a_hero} moved into a new home {where}.",
    "In a land far away there lived {a_hero}.", "Every day, {the_hero} went for a walk {where}.", "{Where}, everyone knew {the_hero}.",
]
CHARACTER = ["", "", "", "{Hero} liked to {pastime}.", "{Everyone} knew {hero}, for {he} liked to {pastime}.", "Every evening {he} liked to {pastime}.",
             "{Hero} was {trait2}, and {he} loved {food}.", "{He} was very {trait2} and had a good heart."]
DAYBREAK = ["One {day}, {hero} went out. {Sky}", "It was a {day}. {Sky}", "One {day}, {hero} woke up early.", "One {day}, {hero} looked out. {Sky}"]
THANKS = ['"Thank you," said {hero}. "You are a true friend."', '"I could not have done it without you," said {hero}.', "{Hero} thanked {friend} with all {his} heart.",
          '"Thank you, thank you," cried {hero}, and {he} gave {friend} some {food}.']
FRIENDS_END = ["From that day on, {hero} and {friend} were the best of friends.", "{Hero} and {friend} went home together and ate {food}.", "{Dusk} {Hero} went home and slept well.",
               "That evening they sat together, ate {food} and laughed.", "And from then on they met every day.", "{Dusk} It had been a good day for {hero} and {friend}."]
LAST = ["", "", "", "", "The end."]

PLOTS = {
    "lost": Plot("who lost {a_thing}", [
        ["{Hero} had {a_thing} and took it everywhere.", "More than anything, {hero} loved {his} {colour} {thing}.", "{His} favourite thing in the world was {a_thing}.",
         "{Hero} owned {a_thing}, a present from {his} grandmother."],
        ["One {day}, the {thing} was gone.", "One {day}, {hero} looked for the {thing}, but it was gone. {Sky}", "Then, one {day}, {hero} lost the {thing} on the way home."],
        ["{He} looked {spot1} and {spot2}, but the {thing} was not there.", "{He} searched {spot1}. {He} searched {spot2}. There was no {thing}.", "{Hero} looked everywhere, even {spot1}, but {he} could not find it."],
        ["{Hero} sat down and began to cry.", "{Hero} felt very sad.", ""],
        ["Just then {a_friend} came by.", "Then {he} met {a_friend}.", "{A_friend} heard {him} and came closer."],
        ['"Have you seen my {thing}?" asked {hero}.', '"What is wrong?" asked {friend}. "I have lost my {colour} {thing}," said {hero}.'],
        ['"No, but I will help you," said {friend}.', '"I saw something {colour} {spot3}," said {friend}.', '"Let us look together," said {friend}. "Four eyes see more than two."'],
        ["They looked {spot3}, and there was the {thing}.", "Together they went to look {spot3}. There it was, the {colour} {thing}!", "After a while they found the {thing} {spot3}."],
        ["{Hero} jumped for joy.", "{Hero} laughed and held the {thing} tight.", ""], THANKS, FRIENDS_END,
    ], [("What did {hero} lose?", "{Hero} lost {a_thing}."), ("Where was the {thing}?", "The {thing} was {spot3}."), ("Who helped {hero}?", "{Friend} helped {hero}.")]),
    "found": Plot("who found {a_thing}", [
        DAYBREAK, ["{Spot1}, {he} found {a_thing}.", "{Hero} saw something {colour} {spot1}. It was {a_thing}.", "Something shone {spot1}. {Hero} picked it up, and it was {a_thing}."],
        ['"Who could have lost it?" thought {hero}.', "{Hero} wanted to keep it, but {he} knew that somebody must miss it.", '"What a fine {thing}," said {hero}. "I must find the owner."'],
        ["First {he} asked {someone}, but {someone} shook {someone_his} head.", "{He} asked {someone}. \"It is not mine,\" said {someone}.", "{He} knocked on every door and asked everyone."],
        ["At last {he} met {a_friend} {spot2}.", "Then, {spot2}, {he} saw {a_friend} who looked sad.", "In the evening {he} met {a_friend} {spot2}."],
        ['"I have lost my {thing}," said {friend}.', '"Have you seen my {colour} {thing}?" asked {friend}.'],
        ['"Here it is," said {hero}, and gave the {thing} back.', '{Hero} smiled and held out the {thing}. "Is this yours?"'],
        ["{Friend} was so happy that {f_he} danced.", '"You are honest and kind," said {friend}.', "{Friend} laughed and shared {f_his} {food} with {hero}."],
        ["{Hero} had no {thing} now, but {he} had a friend, and that was better.", "{Hero} learned that it feels good to give back what is not yours."] + FRIENDS_END,
    ], [("What did {hero} find?", "{Hero} found {a_thing}."), ("Where did {hero} find it?", "{Hero} found it {spot1}."), ("Who was the owner of the {thing}?", "The {thing} belonged to {friend}.")]),
    "fear": Plot("who was afraid of {fear}", [
        ["{Hero} had a secret. {He} was afraid of {fear}.", "There was only one problem: {hero} was afraid of {fear}.", "{Hero} was not afraid of anything, except {fear}."],
        ["When the others went out to play, {hero} stayed at home.", "{He} told nobody about it.", "{Everyone} laughed about it, and that made {him} sad."],
        ["One {day}, {a_friend} came to visit.", "One {day}, {hero} met {a_friend}.", "It was a {day} when {a_friend} knocked on the door."],
        ['"Why do you look so worried?" asked {friend}. "I am afraid of {fear}," said {hero}.', '"Come with me," said {friend}. "I cannot," said {hero}. "I am afraid of {fear}."'],
        ['"I was afraid too, once," said {friend}. "{advice}."', '{Friend} smiled. "{advice}," {f_he} said.'],
        ["{Hero} took a deep breath.", "{His} heart beat fast, but {he} nodded.", "{Hero} thought about it for a long time."],
        ["Then {brave}.", "That same day {brave}.", "Slowly, very slowly, {brave}."],
        ['"I did it!" cried {hero}.', '"You did it!" cried {friend}.', "It was not so bad at all."],
        ["{Hero} was still a little afraid of {fear}, but now {he} knew what to do.", "From that day on, {hero} was not afraid of {fear} any more.",
         "{Hero} learned that being brave means to try, even when you are afraid."],
    ], [("What was {hero} afraid of?", "{Hero} was afraid of {fear}."), ("Who helped {hero}?", "{Friend} helped {hero}.")]),
    "making": Plot("who wanted to make {work}", [
        ["{Hero} wanted to make {work}.", "One {day}, {hero} had an idea. {He} wanted to make {work}.", "{Hero} had always wanted to make {work}. One {day}, {he} began."],
        ["{He} worked all day long.", "{He} worked hard until the evening.", "{He} took {his} tools and worked without a break."],
        ["But when it was done, {failure}.", "At last it was ready, but {failure}."],
        ['"I will never learn it," said {hero}.', "{Hero} was sad and wanted to give up.", "{Hero} sighed and sat down {spot1}."],
        ["Then {a_friend} came by and looked at it.", "{A_friend} had watched everything.", "Just then {a_friend} came along."],
        ['"I see what is wrong," said {friend}. "Look, {flaw}."', '{Friend} thought for a moment. "I think {flaw}," said {friend}.'],
        ["So {hero} tried again, and {friend} helped.", "They worked together, and soon it was done.", '"Then I will try once more," said {hero}.'],
        ["This time {success}.", "And look, this time {success}."],
        ["{Everyone} came to see it.", "{Hero} was very proud.", '"We did it!" cried {hero}.'],
        ["{Hero} learned that a mistake is only the first step.", "{Hero} never gave up again."] + FRIENDS_END,
    ], [("What did {hero} make?", "{Hero} made {work}."), ("What went wrong at first?", "At first {failure}."), ("Who helped {hero}?", "{Friend} helped {hero}.")]),
    "journey": Plot("who wanted to see {goal}", [
        ["{Hero} had one big dream. {He} wanted to see {goal}.", "Every night {he} dreamed of {goal}.", "{Hero} had heard many stories about {goal} and wanted to see it."],
        ["So one {day}, {he} packed {a_thing} and some {food} and left.", "One {day}, {he} took {his} {thing} and some {food} and set out.", "One {day}, {he} said goodbye and began to walk."],
        ["{Sky}", "The road was long, and {his} feet hurt.", "{He} walked over hills and through fields."],
        ["On the way {he} met {a_friend}.", "{Spot1}, {he} met {a_friend}.", "After two days {he} met {a_friend} who sat {spot1}."],
        ['"Where are you going?" asked {friend}. "To {goal}," said {hero}.', '"Do you know the way to {goal}?" asked {hero}.'],
        ['"I know the way," said {friend}. "May I come with you?"', '"Follow the river and then the stars," said {friend}. "I will come with you."'],
        ["They shared the {food} and walked on together.", "They sang songs, and the road felt shorter.", "When {hero} was tired, {friend} told {him} stories."],
        ["On the third day they reached {goal}.", "At last they stood before {goal}.", "And then, one morning, they saw {goal}."],
        ["{view}."], ['"It is even better than in my dream," said {hero}.', "{Hero} was so happy that {he} could not speak.", '"I will never forget this," said {hero}.'],
        ["When {hero} came home, {he} told the story to {everyone}.", "{Hero} went home with a new friend and a story to tell."] + FRIENDS_END[:2],
    ], [("Where did {hero} want to go?", "{Hero} wanted to see {goal}."), ("Who went with {hero}?", "{Friend} went with {hero}.")]),
    "rescue": Plot("who helped a friend", [
        DAYBREAK, ["Suddenly {he} heard a voice. \"Help! Help!\"", "Then {he} heard someone cry {spot1}.", "From far away came a cry for help."],
        ["It was {a_friend}, {trap}.", "{Hero} ran as fast as {he} could and found {a_friend}, {trap}."],
        ['"Do not worry," said {hero}. "I will help you."', '"Hold on!" cried {hero}.'],
        ["{He} tried alone, but it was too hard.", "{Hero} was not strong enough alone.", "But what could {he} do alone?"],
        ["So {he} ran to {someone} and asked for help.", "So {he} called {someone}, who came at once.", "Then {hero} had an idea and fetched {someone}."],
        ["Together they {rescue}.", "They did not wait. They {rescue}.", "{Hero} and {someone} {rescue}."],
        ["At last {friend} was free.", "And then, all at once, {friend} was safe."],
        ['"You saved me," said {friend}.', '"How can I thank you?" asked {friend}.', "{Friend} was tired but happy."],
        ['"Friends help each other," said {hero}.', '"It was nothing," said {hero} and smiled.', ""], FRIENDS_END,
    ], [("Who needed help?", "{Friend} needed help."), ("What had happened to {friend}?", "{Friend} was {trap}."), ("Who did {hero} call?", "{Hero} called {someone}.")]),
    "storm": Plot("who shared a warm home in a storm", [
        ["One night a great storm came.", "One evening the sky turned black and a storm began.", "Then a storm came, the worst in many years."],
        ["The wind howled and the rain beat on the roof.", "The thunder rolled and the trees bent low.", "The wind shook every door."],
        ["{Hero} sat by the fire and ate some {food}.", "{Hero} was safe and warm at home.", "{Hero} lit {his} lamp and put some {food} on the table."],
        ["Then there was a knock at the door.", "Suddenly {he} heard a small voice outside.", "In the middle of the night somebody knocked."],
        ["It was {a_friend}, cold and wet.", "Outside stood {a_friend}, wet from head to foot."],
        ['"My home is gone," said {friend}. "May I come in?"', '"I have lost my way," said {friend}. "May I stay here tonight?"'],
        ['"Of course," said {hero}. "Come in and get warm."', "{Hero} did not think twice and opened the door wide."],
        ["{He} gave {friend} a blanket and some {food}.", "They shared the {food} and told stories until the storm was over.", "{Hero} did not have much, but {he} shared {his} {food}."],
        ["In the morning the sky was clear.", "When the sun came up, the storm was gone."],
        ["{Hero} helped {friend} to build a new home {spot1}.", '"You can stay as long as you like," said {hero}.', '"I will never forget this," said {friend}.'],
        ["{Hero} learned that a home gets warmer when it is shared.", "From that night on, {hero} was never lonely again."] + FRIENDS_END[:1],
    ], [("Who knocked at the door?", "It was {friend}."), ("What did they eat?", "They ate {food}.")]),
    "quarrel": Plot("who learned to share", [
        ["{Hero} had a friend, {a_friend}.", "{His} best friend was {a_friend}."], ["One {day}, they found {a_thing} {spot1}.", "One {day}, they saw {a_thing} {spot1}. {Sky}"],
        ['"It is mine," said {hero}. "No, it is mine," said {friend}.', '"I saw it first," said {hero}. "But I picked it up," said {friend}.'],
        ["{Hero} pulled, and {friend} pulled, and then the {thing} fell into the mud.", "They quarrelled all day, and nobody played with the {thing}.", "{Hero} took the {thing} and ran home alone."],
        ["That evening {hero} felt sad. The {thing} was no fun without {friend}.", "{Hero} could not sleep. {He} thought about {friend}.", '"What is {a_thing} good for without a friend?" thought {hero}.'],
        ["The next morning {he} went to {friend}.", "So {he} took the {thing} and went to look for {friend}."],
        ['"I am sorry," said {hero}. "Let us share it."', '"You can have the {thing} today," said {hero}, "and I will have it tomorrow."'],
        ['"I am sorry too," said {friend}.', "{Friend} smiled and took {hero} by the hand.", '"That is a good idea," said {friend}.'],
        ["And so they shared the {thing} and were friends again.", "From then on they shared everything, even the last piece of {food}."], ["", "", "{Dusk}"],
    ], [("What did they find?", "They found {a_thing}."), ("Where did they find it?", "They found it {spot1}."), ("Who was the friend?", "It was {friend}.")]),
    "seed": Plot("who planted a seed", [
        ["One {day}, {hero} found a small seed {spot1}.", "One {day}, {a_friend} gave {hero} a small seed.", "{Hero} had a small seed and did not know what it was."],
        ["{He} planted it {spot2}.", "{He} put it into the ground {spot2} and covered it with earth."],
        ["Every day {he} gave it water, but nothing happened.", "{He} waited one day. {He} waited two days. Nothing happened.", "{He} watered it every morning and sang to it."],
        ['"Nothing will ever grow here," said {someone}.', '"When will it grow?" asked {hero}. "Be patient," said {someone}.'],
        ["{Hero} did not give up.", "But {hero} waited and kept it warm.", "The days went by, and {hero} waited."],
        ["Then, one {day}, there was a tiny green leaf.", "One morning {he} saw something green in the earth."],
        ["It grew and grew, and soon there was {a_plant}, {plant_looks}.", "Week by week it grew, until there stood {a_plant}, {plant_looks}."],
        ["{Everyone} came to see the {plant}.", '"What a beautiful {plant}!" said {someone}.'],
        ["{Hero} was proud and gave a new seed to {everyone}.", "{Hero} learned that good things need time.", "{Hero} smiled, because {he} had waited and the waiting was worth it."],
    ], [("What did {hero} plant?", "{Hero} planted a seed, and it became a {plant}."), ("Where did {hero} plant it?", "{Hero} planted it {spot2}.")]),
    "party": Plot("who had a birthday that nobody seemed to remember", [
        ["It was {his} birthday, but nobody seemed to know it.", "One {day}, it was {hero}'s birthday. {Sky}"],
        ["{He} went to see {someone}, but {someone} had no time.", "{He} met {someone} {spot1}. \"I am busy,\" said {someone}."],
        ["Then {he} looked for {a_friend}, but {friend} was not at home.", "{His} friend, {a_friend}, had no time either."],
        ['"They have all forgotten me," thought {hero}.', "{Hero} went for a walk alone and felt very sad."],
        ["When {he} came home, there was a light in the window.", "In the evening {he} heard a strange noise {spot2}."],
        ['{Hero} opened the door, and everyone cried, "Happy birthday!"', '"Surprise!" cried {friend} and {someone}.'],
        ["There was plenty of {food}, and there was music.", "They had brought {food} and sung a song for {him}."], ["{Friend} gave {him} {a_thing}.", "{His} present was {a_thing}, the best one ever."],
        ["{Hero} laughed and cried at the same time.", '"This is the best day of my life," said {hero}.'], ["They danced until the stars came out.", "{Dusk}", "And nobody went home before midnight."],
    ], [("What was {hero}'s present?", "It was {a_thing}."), ("What did they eat?", "They ate {food}.")]),
}


class Story(NamedTuple):
    text: str
    cast: Cast
    plot: Plot
    hero_kind: str
    hero_name: str | None


def tell_story(rng: Random, hero_kind: str | None = None) -> Story:
    """Draws a cast and a plot and tells the story; `hero_kind` ("fox", "girl", "baker") fixes the hero."""
    kind = hero_kind or _kind(rng)
    plot = PLOTS[_usual(rng, kind, list(PLOTS))]
    region = _region(rng, kind)
    cast, name = _cast(rng, kind, region)
    cast["who"] = plot.who.format_map(cast)
    opening = cast.tell(OPENINGS)
    beats = [opening, cast.tell(CHARACTER), *(cast.tell(beat) for beat in plot.beats), rng.choice(LAST)]
    return Story(" ".join(beat for beat in beats if beat), cast, plot, kind, name)


def _kind(rng: Random) -> str:
    group = rng.choices([list(ANIMALS), ["girl", "boy"], list(JOBS), list(FANTASY), ["man", "woman"]], [10, 4, 4, 4, 1])[0]
    return rng.choice(group)


def _usual(rng: Random, kind: str, options: list[str]) -> str:
    """One of `options`; each kind of hero has a usual one, so that likely stories about different heroes differ."""
    return options[crc32(f"{kind} {options[0]}".encode()) % len(options)] if rng.random() < 0.4 else rng.choice(options)


def _region(rng: Random, kind: str) -> str:
    own = ANIMALS[kind].region if kind in ANIMALS else JOBS[kind][3] if kind in JOBS else FANTASY.get(kind)
    return own if own and rng.random() < 0.75 else rng.choice(list(PLACES))


def _person(rng: Random, kind: str, named: bool, not_name: str | None = None) -> tuple[str, str, str | None]:
    """(pronoun, "small fox" with its article and name, name)."""
    pronoun = "she" if kind in FEMALE_KINDS else "he" if kind in MALE_KINDS else rng.choice(["he", "she"])
    person = kind in JOBS or kind in ("girl", "boy", "man", "woman")
    names = PET_NAMES if not person else GIRLS if pronoun == "she" else BOYS
    name = rng.choice([n for n in names if n != not_name]) if named else None
    if not named and not person and kind not in FEMALE_KINDS | MALE_KINDS and rng.random() < 0.3:
        pronoun = "it"
    trait = rng.choice([t for t in TRAITS if t != "old" or kind not in ("girl", "boy")])
    return pronoun, with_article(f"{trait} {kind}") + (f" named {name}" if name else ""), name


def _cast(rng: Random, kind: str, region: str) -> tuple[Cast, str | None]:
    where, homes, spots = PLACES[region]
    pronoun, a_hero, name = _person(rng, kind, rng.random() < (0.8 if kind in ("girl", "boy") else 0.45))
    neighbours = [k for k in ANIMALS if ANIMALS[k].region == region] + [k for k in JOBS if JOBS[k][3] == region] + ["girl", "boy", "owl", "mouse", "dog"]
    friend_kind, other_kind = rng.sample([k for k in dict.fromkeys(neighbours) if k != kind], 2)
    f_pronoun, a_friend, f_name = _person(rng, friend_kind, rng.random() < 0.3, name)
    weather, thing, colour, food, fear, work, goal, trap, plant = (
        _usual(rng, kind, list(table)) for table in (WEATHER, TREASURES, COLOURS, FOODS, FEARS, WORKS, GOALS, TRAPS, SEEDS))
    first_weather = rng.choice([w for w in WEATHER if w != weather])
    spot1, spot2, spot3 = rng.sample(spots, 3)
    the_kind = f"the {kind}"
    own_home = kind in ANIMALS and region == ANIMALS[kind].region and rng.random() < 0.4
    cast = Cast(rng, {
        "hero": [name, name, name, the_kind] if name else the_kind, "a_hero": a_hero,
        "the_hero": f"the {rng.choice(TRAITS)} {kind}" + (f" {name}" if name else ""),
        "friend": f_name or f"the {friend_kind}", "a_friend": a_friend, "f_he": PRONOUNS[f_pronoun][0], "f_his": PRONOUNS[f_pronoun][2],
        "someone": f"the {other_kind}", "someone_his": "her" if other_kind in FEMALE_KINDS else "his",
        "everyone": rng.choice(["everyone", "all the neighbours", "all the others"]), "trait2": rng.choice(TRAITS[4:]), "pastime": rng.choice(PASTIMES),
        "colour": colour, "thing": thing, "a_thing": with_article(f"{colour} {thing}"), "food": food,
        "where": where, "home": ANIMALS[kind].home if own_home else rng.choice(homes), "spot1": spot1, "spot2": spot2, "spot3": spot3,
        "first_day": f"{first_weather} morning", "day": f"{weather} {rng.choice(['morning', 'day', 'afternoon', 'evening'])}", "sky": WEATHER[weather][0], "dusk": WEATHER[weather][1],
        "fear": fear, "advice": FEARS[fear][0], "work": work, "failure": WORKS[work][0], "flaw": WORKS[work][1], "success": WORKS[work][2],
        "goal": goal, "view": GOALS[goal], "trap": trap, "rescue": TRAPS[trap], "plant": plant, "a_plant": with_article(plant), "plant_looks": SEEDS[plant],
        **dict(zip(("he", "him", "his", "himself"), PRONOUNS[pronoun])),
    })
    cast["brave"] = FEARS[fear][1].format_map(cast)
    return cast, name
