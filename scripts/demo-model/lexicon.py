"""The world that the demo model knows: animals, people, places, things and the facts about them.

Stories and answers draw on the same tables, so that a story about an otter and an answer about otters agree.
"""

from typing import NamedTuple


class Animal(NamedTuple):
    looks: str
    home: str
    eats: str
    sound: str
    legs: str
    region: str
    size: int


# name: looks, home, food, sound, legs, region of its stories, rank by size
ANIMALS = {
    "cat": Animal("small pet with soft fur and long whiskers", "in a house with people", "fish and mice", "meows", "four", "village", 4),
    "dog": Animal("loyal pet with a good nose and a wagging tail", "in a house with people", "meat and bones", "barks", "four", "village", 6),
    "fox": Animal("wild animal with a red coat and a bushy tail", "in a den in the forest", "mice and berries", "barks", "four", "forest", 5),
    "rabbit": Animal("small animal with long ears and a short tail", "in a burrow under the ground", "grass and carrots", "squeaks", "four", "garden", 3),
    "owl": Animal("bird with big round eyes that hunts at night", "in a hollow tree", "mice and insects", "hoots", "two", "forest", 3),
    "bear": Animal("large strong animal with thick brown fur", "in a cave in the mountains", "honey, fish and berries", "growls", "four", "mountains", 9),
    "mouse": Animal("tiny animal with round ears and a long thin tail", "in a hole in the wall", "seeds and cheese", "squeaks", "four", "village", 1),
    "duck": Animal("bird with a flat bill and feet made for swimming", "on a pond", "water plants and snails", "quacks", "two", "lake", 3),
    "frog": Animal("small green animal with long back legs", "near a pond", "flies and worms", "croaks", "four", "lake", 2),
    "turtle": Animal("slow animal with a hard shell on its back", "near the water", "leaves and water plants", "hisses", "four", "lake", 3),
    "squirrel": Animal("quick animal with a big bushy tail", "in a nest high in a tree", "nuts and seeds", "chatters", "four", "forest", 3),
    "hedgehog": Animal("small animal with thousands of sharp spines", "under a heap of leaves", "worms and beetles", "snuffles", "four", "garden", 2),
    "goat": Animal("farm animal with horns and a short beard", "on a farm in the hills", "grass and leaves", "bleats", "four", "mountains", 6),
    "sheep": Animal("farm animal with thick white wool", "in a green field", "grass and clover", "bleats", "four", "farm", 6),
    "horse": Animal("big fast animal with a long mane", "in a stable on a farm", "hay and apples", "neighs", "four", "farm", 8),
    "cow": Animal("big farm animal that gives us milk", "on a farm", "grass and hay", "moos", "four", "farm", 8),
    "pig": Animal("clever farm animal with a round pink nose", "on a farm", "corn and turnips", "grunts", "four", "farm", 7),
    "hen": Animal("farm bird that lays eggs", "in a hen house on a farm", "corn and worms", "clucks", "two", "farm", 3),
    "crow": Animal("clever bird with shiny black feathers", "in a tall tree", "seeds and insects", "caws", "two", "farm", 3),
    "badger": Animal("strong animal with black and white stripes on its face", "in a burrow in the forest", "worms and roots", "growls", "four", "forest", 5),
    "otter": Animal("playful animal that swims very well", "on the bank of a river", "fish and crabs", "whistles", "four", "river", 4),
    "beaver": Animal("animal with big teeth and a flat tail that builds dams", "in a lodge in the river", "bark and leaves", "whines", "four", "river", 5),
    "deer": Animal("shy animal with long thin legs", "in the forest", "grass and leaves", "snorts", "four", "forest", 7),
    "wolf": Animal("wild animal that looks like a big grey dog", "in a pack in the forest", "meat", "howls", "four", "mountains", 7),
    "swan": Animal("large white bird with a long neck", "on a lake", "water plants", "trumpets", "two", "lake", 5),
    "seal": Animal("sea animal with smooth fur and flippers", "by the sea", "fish", "barks", "no", "sea", 7),
    "crab": Animal("small sea animal with a shell and two claws", "on the beach", "small sea plants", "clicks", "ten", "sea", 1),
    "penguin": Animal("black and white bird that swims but cannot fly", "on the ice in the south", "fish", "honks", "two", "sea", 4),
    "elephant": Animal("huge grey animal with a long trunk", "in warm grasslands", "grass, leaves and fruit", "trumpets", "four", "savanna", 10),
    "lion": Animal("big wild cat, and the male has a thick mane", "in warm grasslands", "meat", "roars", "four", "savanna", 8),
    "monkey": Animal("clever animal with long arms that climbs trees", "in the trees of the jungle", "fruit and nuts", "chatters", "four", "jungle", 4),
    "parrot": Animal("bright bird that can copy words", "in the trees of the jungle", "fruit and seeds", "squawks", "two", "jungle", 2),
}

# Known from answers only: no hero of a story.
CREATURES = {
    "bee": Animal("small insect that makes honey", "in a hive", "the sweet juice of flowers", "buzzes", "six", "garden", 0),
    "ant": Animal("tiny insect that works with many others", "in a nest under the ground", "seeds and crumbs", "makes no sound", "six", "garden", 0),
    "spider": Animal("small animal that spins a web", "in a web", "flies", "makes no sound", "eight", "garden", 0),
    "fish": Animal("animal with fins that breathes under water", "in rivers, lakes and the sea", "small plants and worms", "makes no sound", "no", "river", 2),
    "snake": Animal("long thin animal without legs", "under rocks and in the grass", "mice and eggs", "hisses", "no", "jungle", 3),
    "whale": Animal("huge animal that lives in the sea and breathes air", "in the deep sea", "small fish", "sings", "no", "sea", 11),
}

JOBS = {  # does, works in or on, uses, region
    "baker": ("bakes bread and cakes", "in a bakery", "flour and an oven", "village"),
    "farmer": ("grows food and looks after animals", "on a farm", "a plough and a cart", "farm"),
    "sailor": ("sails ships across the sea", "on a ship", "ropes and maps", "sea"),
    "fisherman": ("catches fish", "on a small boat", "a net", "sea"),
    "gardener": ("looks after flowers and trees", "in a garden", "a spade and a watering can", "garden"),
    "teacher": ("helps children learn", "in a school", "books and chalk", "village"),
    "doctor": ("helps people who are ill", "in a hospital", "medicine", "city"),
    "painter": ("paints pictures", "in a bright room", "brushes and paint", "city"),
    "carpenter": ("builds tables, chairs and doors from wood", "in a workshop", "a saw and a hammer", "village"),
    "tailor": ("makes and mends clothes", "in a small shop", "a needle and thread", "city"),
    "miller": ("grinds corn into flour", "in a mill", "two big stones", "river"),
    "shepherd": ("looks after sheep", "in the hills", "a long stick", "mountains"),
    "clockmaker": ("makes and mends clocks", "in a workshop", "tiny tools", "city"),
    "lighthouse keeper": ("keeps the light burning for the ships", "in a lighthouse", "a great lamp", "sea"),
    "librarian": ("looks after books and lends them to people", "in a library", "shelves and a catalogue", "city"),
    "postman": ("brings letters and parcels", "in every street", "a big bag", "village"),
}

FANTASY = {  # kind: region of its stories
    "dragon": "mountains", "robot": "city", "giant": "mountains", "knight": "village", "princess": "village",
    "prince": "village", "wizard": "forest", "snowman": "garden", "king": "city", "queen": "city", "elf": "forest",
    "pirate": "sea", "ghost": "city", "mermaid": "sea",
}
FEMALE_KINDS = {"princess", "queen", "mermaid", "hen", "cow", "girl", "woman"}
MALE_KINDS = {"prince", "king", "fisherman", "postman", "snowman", "boy", "man"}

GIRLS = """Mia Anna Lily Zoé Clara Emma Nora Rosa Ida Ella Maya Lucy Sara Chloé Ruby Hana Olga Tessa June Ada
Greta Renée Daisy Molly Lena Amina""".split()
BOYS = """Tom Ben Max Leo Sam Noah Finn Hugo Jürgen Paul Oscar Ravi Omar Peter Jack Theo André Ned Felix Milo
Henry Otto Luis Karl Adam Will""".split()
PET_NAMES = """Pip Bella Rusty Hazel Bobo Misty Nibbles Olive Button Coco Willow Basil Pepper Biscuit Luna Toto
Pebble Maple Whiskers Ginger Momo Dusty Poppy Bruno Tiki Fern""".split()

TRAITS = "small little young old brave shy clever curious kind cheerful quiet lonely hungry proud lazy friendly".split()

PLACES = {  # region: (where it is, where people live, where things are found)
    "forest": ("in a deep forest", ["at the edge of the forest", "in the middle of the forest", "deep in the forest"],
               ["under the old oak", "behind the ferns", "beside the stream", "inside a hollow log", "among the mushrooms"]),
    "garden": ("in a large garden", ["in a green garden", "behind the garden wall", "in a garden full of flowers"],
               ["under the rose bush", "behind the shed", "between the cabbages", "beside the apple tree", "next to the pond"]),
    "village": ("in a quiet village", ["in a quiet village", "at the end of a village street", "near the village square"],
                ["behind the bakery", "beside the well", "under the stone bridge", "in the market", "near the church"]),
    "farm": ("on a busy farm", ["on a busy farm", "on a farm in the valley", "on a farm near the hills"],
             ["in the barn", "behind the haystack", "under the cart", "beside the gate", "in the corn field"]),
    "lake": ("by a blue lake", ["on the shore of a lake", "by a blue lake", "near a small pond"],
             ["between the reeds", "under the willow tree", "beside the old boat", "on the little island", "behind a rock"]),
    "river": ("by a wide river", ["near a wide river", "by a river", "on the bank of a river"],
              ["under the bridge", "behind the mill", "on the sandy bank", "between two stones", "beside the waterfall"]),
    "sea": ("by the sea", ["by the sea", "near a small harbour", "on a rocky island"],
            ["on the beach", "under the pier", "behind the lighthouse", "between the rocks", "inside an old boat"]),
    "mountains": ("high in the mountains", ["high in the mountains", "in a cave in the mountains", "in a mountain valley"],
                  ["behind the waterfall", "under a flat stone", "on the snowy path", "beside the pine tree", "near the cave"]),
    "city": ("in a big city", ["in a big city", "in a narrow city street", "near the city park"],
             ["in the park", "behind the station", "under a bench", "beside the fountain", "on the library steps"]),
    "savanna": ("in the wide grassland", ["in the wide grassland", "near a water hole in the grassland"],
                ["under the big tree", "beside the water hole", "in the tall grass", "behind a red rock", "on the hill"]),
    "jungle": ("in a green jungle", ["in a green jungle", "in the tall trees of the jungle"],
               ["under a giant leaf", "beside the waterfall", "behind the vines", "on a high branch", "near the old temple"]),
}

COLOURS = "red blue green yellow white black brown orange purple golden silver".split()
TREASURES = """scarf ball kite hat lantern drum flute bell key book basket umbrella ring map whistle blanket cup
necklace coin boat lamp button feather stone bag ribbon mitten clock""".split()
FOODS = "bread soup cake apples honey pancakes berries cheese pie cookies pears porridge".split()

WEATHER = {  # how a day was: (what one saw, how it ended)
    "rainy": ("Rain was falling and the paths were wet.", "By then the rain had stopped and the sun came out."),
    "sunny": ("The sun was shining and the sky was blue.", "The sun went down slowly and the sky turned red."),
    "windy": ("The wind shook the trees and chased the clouds.", "By then the wind had gone to sleep."),
    "snowy": ("Snow covered the ground like a white blanket.", "Outside, the snow kept falling softly."),
    "foggy": ("The fog was so thick that nobody could see far.", "By then the fog was gone and the stars came out."),
    "cold": ("The air was cold and the grass was white with frost.", "It was cold outside, but nobody felt cold any more."),
    "warm": ("The air was warm and smelled of flowers.", "The evening was warm and full of little sounds."),
    "stormy": ("Dark clouds filled the sky and thunder rolled.", "By then the storm was over and the air was fresh."),
}

THINGS = {  # what it is, and what it is for or what it does
    "the sun": ("a star that gives us light and warmth", "It rises in the east and sets in the west."),
    "the moon": ("a ball of rock that goes around the earth", "It shines at night because the sun lights it."),
    "a star": ("a huge ball of hot gas far away", "We can see many stars on a clear night."),
    "rain": ("water that falls from the clouds", "Plants need it to grow."),
    "snow": ("frozen water that falls in soft white flakes", "Children like to build snowmen with it."),
    "a river": ("a long stream of water that flows to the sea", "Fish, otters and beavers live in it."),
    "the sea": ("a very large body of salt water", "Ships sail on it and whales live in it."),
    "a mountain": ("a very high hill made of rock", "There is often snow on its top."),
    "a tree": ("a tall plant with a trunk, branches and leaves", "Birds build nests in it."),
    "a flower": ("the colourful part of a plant", "Bees visit it to find sweet juice."),
    "a forest": ("a large place full of trees", "Foxes, deer and owls live there."),
    "a farm": ("a place where people grow food and keep animals", "Cows, pigs and hens live there."),
    "a library": ("a place that keeps many books", "People go there to read and to borrow books."),
    "a school": ("a place where children learn", "They learn to read, to write and to count."),
    "a book": ("a set of pages with words and pictures", "People read it to learn or to have fun."),
    "a clock": ("a machine that shows the time", "It helps people to be on time."),
    "a bridge": ("a road over water or over a valley", "People use it to cross a river."),
    "a boat": ("a small ship that floats on water", "People use it to cross lakes and rivers."),
    "an umbrella": ("a roof that you carry in your hand", "It keeps you dry in the rain."),
    "a lamp": ("a thing that gives light", "It helps you to see in the dark."),
    "a key": ("a small piece of metal that opens a lock", "You use it to open a door."),
    "a hammer": ("a tool with a heavy head", "You use it to drive nails into wood."),
    "bread": ("a food made of flour, water and salt", "A baker bakes it in an oven."),
    "honey": ("a sweet yellow food made by bees", "Bears love it."),
    "music": ("a pattern of sounds that people enjoy", "People sing it or play it on a flute or a drum."),
    "a friend": ("somebody who likes you and helps you", "A good friend listens and shares."),
    "a computer": ("a machine that follows instructions very fast", "People use it to write, to count and to play."),
    "a processor": ("the part of a computer that does the work", "It has several cores that work at the same time."),
    "a thread": ("a line of work that a computer follows", "Several threads can run at the same time."),
    "a token": ("a small piece of text, often a word", "A language model reads and writes one token after another."),
    "a language model": ("a program that guesses the next word", "It learns from many examples of text."),
    "a prompt": ("the text that you give to a language model", "The model continues it or answers it."),
    "a queue": ("a line in which everybody waits for a turn", "The first one in the line is served first."),
    "a CPU": ("the processor of a computer", "It has several cores that work at the same time."),
    "a core": ("a part of a processor that works on its own", "Four cores can do four things at the same time."),
    "concurrency": ("doing several things in the same time", "While one task waits, another one goes on."),
    "a scheduler": ("a program that decides who works next", "A good scheduler lets nobody wait too long."),
    "a batch": ("a group of tasks that are done together", "Doing them together is faster than one by one."),
    "a stream": ("a row of small pieces that arrive one after another", "You can read the first piece before the last one is ready."),
    "a cache": ("a place that keeps what may be needed again", "It saves the work of doing it twice."),
    "latency": ("the time that you wait for an answer", "Short latency feels fast."),
    "llama.cpp": ("a program that runs language models on your own computer", "It is fast and needs no cloud."),
    "llama-concurrent": ("an engine that lets many callers use one language model at the same time",
                         "It runs inside your program, on the processor."),
    "a llama": ("a woolly animal with a long neck that lives in the mountains", "It carries loads and eats grass."),
}

REASONS = {  # why: because
    "is the sky blue": "the air spreads blue light more than red light",
    "do birds fly south": "it is warm there and they find food",
    "do bees visit flowers": "they look for sweet juice to make honey",
    "does it rain": "the water in the clouds gets too heavy to stay up",
    "do leaves fall in autumn": "trees save their water for the winter",
    "do owls hunt at night": "they see very well in the dark",
    "do people sleep": "the body and the mind need rest",
    "does ice float": "it is lighter than water",
    "do cats purr": "they feel safe and happy",
    "is the night dark": "the sun shines on the other side of the earth",
}
COLOUR_OF = {
    "the sky": "blue", "grass": "green", "snow": "white", "the sun": "yellow", "a carrot": "orange", "coal": "black",
    "a strawberry": "red", "milk": "white", "a banana": "yellow", "the night sky": "black", "a leaf": "green",
    "chocolate": "brown", "a lemon": "yellow", "a tomato": "red", "the sea": "blue", "a frog": "green", "an elephant": "grey",
    "a crow": "black", "a swan": "white", "a fox": "red", "a pig": "pink", "a bear": "brown", "a plum": "purple",
}
OPPOSITES = """hot cold/big small/day night/up down/open closed/fast slow/old new/happy sad/light dark/wet dry/full empty/
loud quiet/early late/high low/soft hard/clean dirty/near far/left right/strong weak/rich poor/brave afraid/long short"""
OPPOSITES = [tuple(pair.split()) for pair in OPPOSITES.split("/")]
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()
SEASONS = {
    "spring": ("the flowers open and the days get longer", "warm and fresh"),
    "summer": ("the sun is high and the days are long", "hot and sunny"),
    "autumn": ("the leaves turn red and yellow and fall", "cool and windy"),
    "winter": ("the nights are long and snow may fall", "cold and sometimes snowy"),
}
NUMBERS = "zero one two three four five six seven eight nine ten".split()
EMOJI = {"cat": "🐱", "fox": "🦊", "star": "⭐", "sun": "☀️", "heart": "❤️", "smile": "😊", "tree": "🌳", "llama": "🦙",
         "rocket": "🚀", "moon": "🌙"}
HELLO_IN = {"French": "bonjour", "Spanish": "hola", "German": "guten Tag", "Italian": "ciao", "Portuguese": "olá",
            "Turkish": "günaydın", "Greek": "γεια"}


def with_article(noun: str) -> str:
    """`noun` with its indefinite article: "an owl", "a red scarf"."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def capitalised(text: str) -> str:
    return text[0].upper() + text[1:]
