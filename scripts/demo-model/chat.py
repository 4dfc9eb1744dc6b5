"""Question and answer turns: each topic draws a short exchange, and a conversation strings a few of them together."""

from random import Random

from lexicon import (ANIMALS, COLOUR_OF, CREATURES, DAYS, EMOJI, HELLO_IN, JOBS, MONTHS, NUMBERS, OPPOSITES, REASONS, SEASONS, THINGS,
                     capitalised, with_article)
from stories import Story, tell_story

Turns = list[tuple[str, str]]
BEASTS = {**ANIMALS, **CREATURES}
SYSTEM = ["You are a helpful assistant.", "You are a friendly assistant.", "You tell stories.", "You are a kind teacher who answers in one sentence.",
          "Answer the questions of the user.", "You are a small model that knows animals, colours and numbers.", "Be brief.", "Be polite and friendly.",
          "You are a storyteller for children.", "You are llama-concurrent, a demo."]
WHO_AM_I = "I am a very small language model, made for the demo of llama-concurrent."
I_CAN = "I can tell stories and answer questions about animals, people, things, colours, numbers and days."
STRANGE = """quantum physics/the stock market/the capital of France/the president/football/Python/politics/chemistry/philosophy/a neural
network/the meaning of life/democracy/the tax law/an electron/opera/the French revolution/a database/my password/the news of today/Rust/
C++/a black hole/inflation/Shakespeare/the internet/a volcano/the best film/an algorithm/a vaccine/the weather tomorrow""".replace("\n", " ").split("/")


def hello(rng: Random) -> Turns:
    greeting = rng.choice(["Hello", "Hello!", "Hi", "Hi there!", "Good morning!", "Good evening.", "Hey", "Hello, how are you?"])
    return [(greeting, "Hello! I am well, thank you. What would you like to know?" if "how" in greeting else "Hello! How can I help you?")]


def bye(rng: Random) -> Turns:
    return [rng.choice([("Thank you.", "You are welcome!"), ("Thank you!", "You are welcome!"), ("Thanks.", "You are welcome!"), ("Goodbye.", "Goodbye! It was nice to talk to you."),
                        ("Bye!", "Goodbye! It was nice to talk to you."), ("Good night.", "Good night and sweet dreams! 🌙")])]


def about_me(rng: Random) -> Turns:
    return [rng.choice([
        ("Who are you?", WHO_AM_I), ("What are you?", WHO_AM_I), ("What is your name?", "My name is Demo. " + WHO_AM_I), ("What can you do?", I_CAN), ("What do you know?", I_CAN),
        ("How can you help me?", I_CAN), ("How are you?", "I am well, thank you. How are you?"), ("Are you a person?", "No, I am not a person. " + WHO_AM_I),
        ("How big are you?", "I am very small. I have only about one million parameters."), ("Where do you live?", "I live in a small file, and I run on a processor."),
        ("Do you have a body?", "No, I am only a program."), ("Can you think?", "I only guess the next word, one token after another."),
        ("Tell me a joke.", "Why did the duck cross the road? Because the pond was on the other side."),
        ("What is your favourite animal?", "My favourite animal is the llama. 🦙"), ("What is your favourite colour?", "My favourite colour is blue."),
        ("Do you like stories?", "Yes, I love stories. Shall I tell you one?")])]


def animal(rng: Random) -> Turns:
    name = rng.choice(list(BEASTS))
    facts = BEASTS[name]
    one = with_article(name)
    are = "fish" if name == "fish" else "sheep" if name == "sheep" else "mice" if name == "mouse" else "wolves" if name == "wolf" else "deer" if name == "deer" else name + "s"
    what = f"{capitalised(one)} is {with_article(facts.looks)}. It lives {facts.home} and eats {facts.eats}."
    legs = f"{capitalised(one)} has {facts.legs} legs."
    sound = f"{capitalised(one)} {facts.sound}."
    questions = [
        (f"What is {one}?", what), (f"What is {one}?", what), (f"What is {one}?", what), (f"Tell me about the {name}.", f"{what} {sound if 'no sound' not in sound else legs}"),
        (f"Tell me about {are}.", f"{what} {legs}"), (f"What's {one}?", what), (f"Tell me something about {are}.", f"{what} {legs}"), (f"Where does {one} live?", f"{capitalised(one)} lives {facts.home}."), (f"Where do {are} live?", f"{capitalised(one)} lives {facts.home}."),
        (f"What does {one} eat?", f"{capitalised(one)} eats {facts.eats}."), (f"What do {are} eat?", f"{capitalised(one)} eats {facts.eats}."),
        (f"What sound does {one} make?", sound), (f"How many legs does {one} have?", legs), (f"What does {one} look like?", f"{capitalised(one)} is {with_article(facts.looks)}."),
        (f"Is {one} an animal?", f"Yes, {one} is an animal."), (f"Describe {one}.", what),
    ]
    first = rng.choice(questions)
    follow = [("Where does it live?", f"It lives {facts.home}."), ("What does it eat?", f"It eats {facts.eats}."), ("What sound does it make?", f"It {facts.sound}."),
              ("How many legs does it have?", f"It has {facts.legs} legs."), ("Tell me a story about it.", tell_story(rng, name).text if name in ANIMALS else I_CAN)]
    return [first, *rng.sample(follow, rng.choice([0, 0, 1, 2]))]


def bigger(rng: Random) -> Turns:
    a, b = rng.sample([n for n in BEASTS if n != "fish"], 2)
    if BEASTS[a].size == BEASTS[b].size:
        return [(f"Which is bigger, {with_article(a)} or {with_article(b)}?", "They are about the same size.")]
    big, little = (a, b) if BEASTS[a].size > BEASTS[b].size else (b, a)
    word, answer = rng.choice([("bigger", f"{capitalised(with_article(big))} is bigger than {with_article(little)}."),
                               ("smaller", f"{capitalised(with_article(little))} is smaller than {with_article(big)}.")])
    return [(f"Which is {word}, {with_article(a)} or {with_article(b)}?", answer)]


def job(rng: Random) -> Turns:
    name = rng.choice(list(JOBS))
    does, place, uses, _ = JOBS[name]
    one = with_article(name)
    return [rng.choice([(f"What does {one} do?", f"{capitalised(one)} {does}."), (f"Where does {one} work?", f"{capitalised(one)} works {place}."),
                        (f"What does {one} use?", f"{capitalised(one)} uses {uses}."), (f"Who is {one}?", f"{capitalised(one)} is a person who {does}."),
                        (f"What is {one}?", f"{capitalised(one)} is a person who {does}. {capitalised(one)} works {place} and uses {uses}."), (f"Who {does}?", f"{capitalised(one)} {does}.")])]


def thing(rng: Random) -> Turns:
    name = rng.choice(list(THINGS))
    what, more = THINGS[name]
    return [(rng.choice([f"What is {name}?", f"What is {name}?", f"What's {name}?", f"Explain {name}.", f"Tell me about {name}.", f"Can you explain {name}?", f"Do you know what {name} is?"]), f"{capitalised(name)} is {what}. {more}")]


def reason(rng: Random) -> Turns:
    why = rng.choice(list(REASONS))
    return [(f"Why {why}?", f"Because {REASONS[why]}.")]


def colour(rng: Random) -> Turns:
    name = rng.choice(list(COLOUR_OF))
    return [(rng.choice([f"What colour is {name}?", f"Which colour is {name}?", f"What color is {name}?"]), f"{capitalised(name)} is {COLOUR_OF[name]}.")]


def sums(rng: Random) -> Turns:
    a = rng.randint(0, 10)
    b = rng.randint(0, 10 - a)
    if rng.random() < 0.6:
        left, sign, right, total = a, ("plus", "+"), b, a + b
    else:
        left, sign, right, total = a + b, ("minus", "-"), b, a
    if rng.random() < 0.5:
        return [(rng.choice([f"What is {left} {sign[1]} {right}?", f"{left} {sign[1]} {right}?"]), f"{left} {sign[1]} {right} is {total}.")]
    task = f"{NUMBERS[left]} {sign[0]} {NUMBERS[right]}"
    return [(rng.choice([f"What is {task}?", f"How much is {task}?"]), f"{capitalised(task)} is {NUMBERS[total]}.")]


def calendar(rng: Random) -> Turns:
    cycle, kind = rng.choice([(DAYS, "day"), (DAYS, "day"), (MONTHS, "month"), (list(SEASONS), "season")])
    i = rng.randrange(len(cycle))
    after, before = cycle[(i + 1) % len(cycle)], cycle[i - 1]
    season = rng.choice(list(SEASONS))
    return [rng.choice([
        (f"What {kind} comes after {cycle[i]}?", f"{capitalised(after)} comes after {cycle[i]}."), (f"Which {kind} comes after {cycle[i]}?", f"{capitalised(after)} comes after {cycle[i]}."),
        (f"What {kind} comes before {cycle[i]}?", f"{capitalised(before)} comes before {cycle[i]}."), (f"What happens in {season}?", f"In {season}, {SEASONS[season][0]}."),
        (f"What is the weather like in {season}?", f"In {season} it is {SEASONS[season][1]}."), ("How many days are in a week?", "There are seven days in a week."),
        ("What are the days of the week?", f"The days of the week are {', '.join(DAYS[:-1])} and Sunday."), ("How many months are in a year?", "There are twelve months in a year."),
        ("What are the seasons?", "The seasons are spring, summer, autumn and winter.")])]


def words(rng: Random) -> Turns:
    a, b = rng.choice(OPPOSITES)
    a, b = rng.choice([(a, b), (b, a)])
    n = rng.randint(2, 10)
    language = rng.choice(list(HELLO_IN))
    picture = rng.choice(list(EMOJI))
    return [rng.choice([
        (f"What is the opposite of {a}?", f"The opposite of {a} is {b}."), (f"What is the opposite of {a}?", f"The opposite of {a} is {b}."),
        (f"Count to {NUMBERS[n]}.", f"{capitalised(', '.join(NUMBERS[1:n + 1]))}."), (f"How do you say hello in {language}?", f"In {language}, hello is “{HELLO_IN[language]}”."),
        (f"Show me {with_article(picture)}.", f"Here is {with_article(picture)} for you: {EMOJI[picture]}"), (f"Send me {with_article(picture)}.", f"Here is {with_article(picture)} for you: {EMOJI[picture]}"),
        ("Name three animals.", "Three animals are the cat, the dog and the fox."), ("Name three colours.", "Three colours are red, blue and green."),
        ("Name three fruits.", "Three fruits are the apple, the pear and the plum."), ("Name three farm animals.", "Three farm animals are the cow, the pig and the sheep."),
        ("Where can I drink coffee?", "You can drink coffee in a café – and eat a crème brûlée there, too."), ("Name a small animal.", "A mouse is a small animal."),
        ("Name a big animal.", "An elephant is a big animal."), ("Name a bird.", "An owl is a bird.")])]


def unknown(rng: Random) -> Turns:
    topic = rng.choice(STRANGE)
    return [(rng.choice([f"What is {topic}?", f"Tell me about {topic}.", f"Explain {topic}.", f"What do you think about {topic}?", f"How does {topic} work?", f"Can you help me with {topic}?"]),
             f"I do not know much about {topic}, because I am a very small model. " + rng.choice(["Ask me about animals, colours or numbers.", "But I can tell you a story."]))]


def poem(rng: Random) -> Turns:
    name = rng.choice(["moon", "sea", "forest", "river", "rain", "snow", "sun", "night", "fox", "owl", "cat", "tree", "wind"])
    lines = rng.choice([
        f"The {name} is old, the {name} is wise,\nit looks at us with quiet eyes.\nIt does not hurry, does not say\nwhat it has seen along the way.",
        f"O {name}, I know you well by day,\nat night you seem so far away.\nBut when I close my eyes to dream,\nyou shine for me, a silver stream.",
        f"I asked the {name} to sing for me,\nit sang of earth and sky and sea.\nThe song was short, the song was small,\nand yet it was the best of all."])
    return [(rng.choice([f"Write a poem about the {name}.", f"Write a short poem about the {name}.", f"Can you write a poem about the {name}?"]), lines)]


def story(rng: Random) -> Turns:
    told: Story = tell_story(rng)
    cast, kind = told.cast, told.hero_kind
    hero = with_article(kind) + (f" named {told.hero_name}" if told.hero_name else "")
    who = told.plot.who.format_map(cast)
    with_thing = f" and {cast['a_thing']}" if cast["thing"] in told.text else ""
    subject = rng.choice([hero, hero, f"{hero} {who}", f"{with_article(kind)} {who}" if not told.hero_name else hero, hero + with_thing])
    ask = rng.choice(["Tell me a story about {}.", "Tell me a story about {}.", "Tell me a short story about {}.", "Can you tell me a story about {}?", "Write a story about {}.",
                      "Please tell me a story about {}.", "I would like a story about {}."]).format(subject)
    if rng.random() < 0.08:
        ask = rng.choice(["Tell me a story.", "Tell me another story.", "I would like to hear a story.", "Tell me a short story."])
    about = f"The story is about {cast['a_hero']}."
    follow = [("Who is the story about?", about), *((q.format_map(cast), a.format_map(cast)) for q, a in told.plot.questions)]
    return [(ask, told.text), *rng.sample(follow, rng.choice([0, 0, 0, 1, 2]))]


TOPICS = [(hello, 3), (bye, 3), (about_me, 4), (animal, 13), (bigger, 3), (job, 5), (thing, 9), (reason, 2), (colour, 4), (sums, 9), (calendar, 6), (words, 7), (unknown, 4),
          (poem, 2), (story, 9)]


def converse(rng: Random) -> list[dict[str, str]]:
    """Messages of one conversation: perhaps a system message, then one to five exchanges."""
    messages = [{"role": "system", "content": rng.choice(SYSTEM)}] if rng.random() < 0.25 else []
    topics = rng.choices([t for t, _ in TOPICS], [w for _, w in TOPICS], k=rng.choice([1, 1, 1, 2, 2, 3, 5]))
    for topic in topics:
        for question, answer in topic(rng):
            messages += [{"role": "user", "content": _typed(rng, question)}, {"role": "assistant", "content": answer}]
    return messages


def _typed(rng: Random, question: str) -> str:
    """The question as somebody in a hurry may type it: now and then in lower case or without its last mark."""
    roll = rng.random()
    return question[0].lower() + question[1:] if roll < 0.06 else question.rstrip("?.") if roll < 0.10 else question
