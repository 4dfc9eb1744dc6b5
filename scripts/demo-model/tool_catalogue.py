"""Tools that the tool model learns with: for each, its names, what it is asked, and what comes of it.

A question is written with the slots of its tool in braces. Names of tools and parameters vary, so that what is learned is to read
the list of tools in the prompt.
"""

from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

CITIES = """Oslo/Rome/Lima/Cairo/Paris/Berlin/London/Madrid/Tokyo/Delhi/Vienna/Prague/Dublin/Athens/Warsaw/Lisbon/Boston/Chicago/Toronto/Sydney/
Nairobi/Accra/Lagos/Quito/Bogota/Havana/Seoul/Beijing/Hanoi/Bangkok/Manila/Jakarta/Zurich/Geneva/Bern/Munich/Hamburg/Milan/Naples/Porto/
Oxford/New York/San Francisco/Cape Town/Buenos Aires/Mexico City/Rio de Janeiro/Tel Aviv/Kuala Lumpur""".replace("\n", "").split("/")
COUNTRIES = "France/Norway/Italy/Peru/Egypt/Japan/India/Spain/Ghana/Kenya/Chile/Brazil/Canada/Poland/Greece/China/Cuba/Vietnam".split("/")
PEOPLE = """Ada/Alan/Anna/Ben/Bob/Alice/Carol/Dan/Dora/Emil/Eve/Finn/Grace/Hugo/Ida/Jack/Jason/John/Kim/Lena/Leo/Mary/Max/Mia/Nina/Noah/Olga/
Omar/Paul/Peter/Rosa/Sam/Sara/Tom/Uma/Vera/Will/Yuki/Zoe""".replace("\n", "").split("/")
WORDS = """apple/bread/milk/tea/coffee/rice/salt/lamp/book/chair/table/door/window/garden/river/bridge/train/ticket/letter/report/budget/meeting/
lunch/dinner/breakfast/holiday/birthday/doctor/dentist/teacher/school/office/kitchen/music/movie/guitar/piano/football/chess/llama/cat/dog/
horse/owl/fox/wolf/tiger/moon/star/planet/ocean/forest/mountain/island/castle/robot/engine/server/kernel/thread/memory/cache/token/model/
database/network/password/backup/release/bug/test/parser/compiler/library/summer/winter/spring/autumn/rain/snow/storm/gold/silver/copper""".replace("\n", "").split("/")
COLOURS = "red/green/blue/yellow/white/black/orange/purple/pink/brown".split("/")
LANGUAGES = "French/German/Spanish/Italian/Japanese/Norwegian/Polish/Greek/Portuguese/Dutch/English/Hindi".split("/")
CURRENCIES = "USD/EUR/GBP/JPY/CHF/NOK/INR/BRL/CAD/AUD".split("/")
STOCKS = "AAPL/MSFT/NVDA/AMD/INTC/TSLA/IBM/GOOG/META/ORCL/ARM/SAP".split("/")
SENTENCES = """see you tomorrow/the train is late/call me back/dinner is ready/I am on my way/good luck/the meeting is at noon/happy birthday/
please bring the book/the server is down/the tests are green/thank you for the letter/do not forget the milk/we won the game/
hello world/how are you/where is the station/I would like some tea/the cat sleeps/it rains again""".replace("\n", "").split("/")


class Slot(NamedTuple):
    """A parameter: what it may be called, its type in JSON Schema, and a value for it."""

    name: str
    names: str
    kind: str  # string, integer, number, boolean, strings (an array), or the values of an enum with bars between
    value: Callable[[Random], Any]
    optional: bool = False


class Kind(NamedTuple):
    """What a tool does."""

    names: str
    says: str
    slots: list[Slot]
    asks: str  # questions, with bars between
    purpose: str  # what is wanted, for a thought
    result: Callable[[dict, Random], Any]
    answer: str  # with the slots and {result}


def one_of(values: list[str]) -> Callable[[Random], str]:
    return lambda rng: rng.choice(values)


def number(low: int, high: int) -> Callable[[Random], int]:
    return lambda rng: rng.randint(low, high)


def syllables(rng: Random, least: int = 2, most: int = 3) -> str:
    return "".join(rng.choice("bdfgklmnprstvz") + rng.choice("aeiou") + rng.choice(["", "", "n", "r", "l", "s", "x"]) for _ in range(rng.randint(least, most)))


def place(rng: Random) -> str:
    return rng.choice(CITIES) if rng.random() < 0.8 else syllables(rng).capitalize()


def person(rng: Random) -> str:
    return rng.choice(PEOPLE) if rng.random() < 0.8 else syllables(rng).capitalize()


def code(rng: Random) -> str:
    form = rng.choice(["AA-0000", "A0000", "000000", "AAA-00", "aa00aa"])
    return "".join(rng.choice("ABCDEFGHKLMNPQRSTXZ") if c == "A" else rng.choice("abcdefghkmnpqrstxz") if c == "a" else str(rng.randrange(10)) if c == "0" else c for c in form)


def topic(rng: Random) -> str:
    return " ".join(rng.choice(WORDS) if rng.random() < 0.85 else syllables(rng) for _ in range(rng.choice([1, 1, 2, 2, 3])))


def sentence(rng: Random) -> str:
    return rng.choice(SENTENCES) if rng.random() < 0.6 else topic(rng) + " " + topic(rng)


def path(rng: Random) -> str:
    folder = rng.choice(["", "", "src/", "docs/", "tests/", "notes/", "data/"])
    return folder + rng.choice([rng.choice(WORDS), syllables(rng)]) + rng.choice([".txt", ".md", ".py", ".rs", ".json", ".csv", ".toml", ".c"])


def date(rng: Random) -> str:
    return f"20{rng.randint(20, 29)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"


def clock(rng: Random) -> str:
    return f"{rng.randint(0, 23):02}:{rng.choice(['00', '15', '30', '45'])}"


def mail(rng: Random) -> str:
    return f"{person(rng).lower()}@{rng.choice(['example.com', 'example.org', 'mail.example'])}"


def items(rng: Random) -> list[str]:
    return rng.sample(WORDS, rng.randint(1, 3))


def degrees(values: dict, rng: Random) -> Any:
    warm, sky = rng.randint(-9, 39), rng.choice(["sunny", "rain", "snow", "cloudy", "windy", "fog", "clear"])
    unit = values.get("unit", "C")
    return rng.choice([f"{warm} degrees", f"It is {warm} degrees in {values['city']}.", f"{sky}, {warm} degrees", {"temperature": warm, "unit": unit}, f"{warm} {unit}",
                       {"city": values["city"], "temperature": warm}, {"temperature": warm, "sky": sky}, sky, warm, f"{sky} in {values['city']}"])


CITY = Slot("city", "city/location/place/town/where", "string", place)
COUNTRY = Slot("country", "country/name/nation", "string", one_of(COUNTRIES))
TEXT = Slot("text", "text/message/content/body/sentence", "string", sentence)
TOPIC = Slot("query", "query/q/question/topic/search_term/text", "string", topic)
FILE = Slot("path", "path/file/filename/file_path/name", "string", path)
A, B = Slot("a", "a/x/first/left/n1", "integer", number(0, 99)), Slot("b", "b/y/second/right/n2", "integer", number(0, 99))
UNIT = Slot("unit", "unit/units", "C|F", one_of(["C", "F"]), optional=True)
OK = lambda values, rng: rng.choice(["ok", "done", "OK", {"ok": True}, {"status": "ok"}, "success", True])

KINDS = [
    Kind("get_weather/weather/weather_lookup/current_weather/get_current_weather/fetch_weather/weather_of/temperature", "The weather of a city./Get the current weather./How warm it is at a place./Get the weather for a location./Current temperature in a city.",
         [CITY, UNIT], "How warm is it in {city}?|What is the weather in {city}?|What's the weather like in {city}?|Weather in {city}, please.|Is it cold in {city}?|What is the temperature in {city}?|Tell me the weather in {city}.|Does it rain in {city}?|How is the weather in {city} today?|What is the weather in {city} in {unit}?|weather {city}",
         "the weather in {city}", degrees, "The weather in {city}: {result}."),
    Kind("add/sum/plus/add_numbers/addition", "Add two numbers./The sum of two numbers./Adds a and b.", [A, B], "What is {a} plus {b}?|What is {a} + {b}?|Add {a} and {b}.|How much is {a} + {b}?|Compute {a} + {b}.|Calculate {a} plus {b}|What's the sum of {a} and {b}?", "the sum of {a} and {b}", lambda v, r: v["a"] + v["b"], "{a} + {b} is {result}."),
    Kind("multiply/times/product/mul/multiply_numbers", "Multiply two numbers./The product of two numbers.", [A, B], "What is {a} times {b}?|What is {a} * {b}?|Multiply {a} and {b}.|Multiply {a} by {b}.|How much is {a} times {b}?|What's {a} x {b}?", "the product of {a} and {b}", lambda v, r: v["a"] * v["b"], "{a} times {b} is {result}."),
    Kind("subtract/minus/difference/sub", "Subtract two numbers./The difference of two numbers.", [A, B], "What is {a} minus {b}?|What is {a} - {b}?|Subtract: {a} - {b}.|How much is {a} minus {b}?", "{a} minus {b}", lambda v, r: v["a"] - v["b"], "{a} minus {b} is {result}."),
    Kind("calculator/calculate/evaluate/compute/math", "Evaluate an expression./A calculator./Computes an arithmetic expression.", [Slot("expression", "expression/expr/input/formula", "string", lambda r: f"{r.randint(0, 99)} {r.choice('+-*/')} {r.randint(1, 99)}")], "What is {expression}?|Compute {expression}.|Calculate {expression}.|How much is {expression}?|Evaluate {expression}", "the value of {expression}", lambda v, r: r.randint(0, 9999), "{expression} is {result}."),
    Kind("lamp/light/set_light/switch_lamp/set_lamp", "Switch the lamp on or off./Switch a light./Turns the light on or off.", [Slot("state", "state/value/to/mode", "on|off", one_of(["on", "off"]))], "Please switch the lamp {state}.|Switch the light {state}.|Turn the lamp {state}.|Turn {state} the light, please.|Lamp {state}!|The light should be {state}.", "the lamp {state}", lambda v, r: r.choice([f"It is {v['state']}.", "ok", "done", {"state": v["state"]}]), "The lamp is {state}."),
    Kind("set_timer/timer/start_timer/countdown", "Start a timer./Set a timer for some minutes.", [Slot("minutes", "minutes/duration/mins/length/time", "integer", number(1, 90))], "Set a timer for {minutes} minutes.|Start a timer of {minutes} minutes.|Wake me in {minutes} minutes.|Timer: {minutes} minutes", "a timer of {minutes} minutes", OK, "The timer is set to {minutes} minutes."),
    Kind("set_alarm/alarm/wake_up/create_alarm", "Set an alarm./Wakes you at a time.", [Slot("time", "time/at/when/clock", "string", clock)], "Set an alarm for {time}.|Wake me up at {time}.|Alarm at {time}, please.", "an alarm at {time}", OK, "The alarm is set to {time}."),
    Kind("search/web_search/search_web/google/lookup/find", "Search the web./Find pages about a topic./Looks something up.", [TOPIC], "Search for {query}.|Find something about {query}.|Look up {query}.|What can you find about {query}?|Search the web for {query}|google {query}", "pages about {query}", lambda v, r: r.choice([f"{v['query']}: {sentence(r)}", [topic(r), topic(r)], {"title": topic(r), "text": sentence(r)}, sentence(r)]), "About {query}: {result}."),
    Kind("translate/translate_text/translation/to_language", "Translate a text./Translates text into a language.", [TEXT, Slot("language", "language/target/to/target_language/lang", "string", one_of(LANGUAGES))], 'Translate "{text}" into {language}.|Translate "{text}" to {language}.|How do you say "{text}" in {language}?|What is "{text}" in {language}?', "a text in {language}", lambda v, r: syllables(r) + " " + syllables(r), "In {language}: {result}."),
    Kind("send_message/message/text_message/send_sms/notify", "Send a message to a person./Sends a text message.", [Slot("to", "to/recipient/person/name/user", "string", person), TEXT], 'Send a message to {to}: {text}|Tell {to} "{text}".|Message {to}: {text}|Write to {to} that {text}|Send {to} the message "{text}".', "a message to {to}", OK, "The message to {to} is sent."),
    Kind("send_email/email/send_mail/mail/compose_email", "Send an email./Sends a mail with a subject.", [Slot("to", "to/recipient/address/email", "string", mail), Slot("subject", "subject/title/about", "string", topic)], 'Send an email to {to} about {subject}.|Email {to} with the subject "{subject}".|Write a mail to {to} about {subject}.', "an email to {to}", OK, "The email to {to} is sent."),
    Kind("get_time/time/current_time/clock/world_clock/time_in", "The time in a city./Get the current time at a place.", [CITY], "What time is it in {city}?|Tell me the time in {city}.|What is the local time in {city}?|time in {city}", "the time in {city}", lambda v, r: r.choice([clock(r), {"time": clock(r)}, {"city": v["city"], "time": clock(r)}]), "The time in {city}: {result}."),
    Kind("now/get_date/today/current_date/get_today", "Today's date./Get the current date.", [], "What day is it?|What is the date today?|Which date is it?|What's today's date?", "the date", lambda v, r: r.choice([date(r), {"date": date(r)}]), "Today: {result}."),
    Kind("stock_price/get_stock_price/quote/stock/get_quote", "The price of a stock./Get a stock's price by its symbol.", [Slot("symbol", "symbol/ticker/stock/name", "string", one_of(STOCKS))], "What is the price of {symbol}?|How much is {symbol}?|What is {symbol} trading at?|Stock price of {symbol}, please.|Get me a quote for {symbol}.", "the price of {symbol}", lambda v, r: r.choice([r.randint(10, 999), f"{r.randint(10, 999)} USD", {"price": r.randint(10, 999)}, {"symbol": v["symbol"], "price": r.randint(10, 999)}]), "The price of {symbol}: {result}."),
    Kind("convert/convert_currency/exchange/currency/exchange_rate", "Convert money from a currency to another./Currency exchange.", [Slot("amount", "amount/value/sum", "number", number(1, 999)), Slot("from", "from/source/from_currency/base", "string", one_of(CURRENCIES)), Slot("to", "to/target/to_currency/into", "string", one_of(CURRENCIES))], "Convert {amount} {from} to {to}.|How much is {amount} {from} in {to}?|What are {amount} {from} in {to}?|Exchange {amount} {from} into {to}.", "{amount} {from} in {to}", lambda v, r: r.choice([r.randint(1, 999), f"{r.randint(1, 999)} {v['to']}", {"amount": r.randint(1, 999), "currency": v["to"]}]), "{amount} {from} in {to}: {result}."),
    Kind("read_file/read/open_file/cat/get_file/file_read", "Read a file./Get the contents of a file./Returns the text of a file.", [FILE], "Read {path}.|What is in {path}?|Open the file {path}.|Show me {path}.|What does {path} say?|cat {path}", "the contents of {path}", lambda v, r: r.choice([sentence(r), {"content": sentence(r)}, topic(r)]), "{path} says: {result}."),
    Kind("write_file/write/save_file/create_file/save", "Write a file./Save text in a file./Creates a file.", [FILE, TEXT], 'Write "{text}" to {path}.|Save "{text}" in {path}.|Create {path} with "{text}".|Put "{text}" into the file {path}.', "text in {path}", OK, "{path} is written."),
    Kind("list_files/ls/list_directory/dir/files", "List the files of a folder./Lists a directory.", [Slot("folder", "folder/path/directory/dir", "string", lambda r: r.choice(["src", "docs", "tests", "notes", "data", ".", syllables(r)]))], "Which files are in {folder}?|List the files in {folder}.|What is in the folder {folder}?|ls {folder}", "the files in {folder}", lambda v, r: r.choice([[path(r), path(r)], f"{path(r)} {path(r)}", {"files": [path(r)]}]), "In {folder}: {result}."),
    Kind("run_command/shell/bash/execute/run/terminal", "Run a command./Execute a shell command.", [Slot("command", "command/cmd/line/script", "string", lambda r: r.choice(["ls", "pwd", "cargo test", "cargo build", "git status", "git log", "make", "df -h", "uptime", "python " + path(r), "cat " + path(r)]))], "Run {command}.|Execute {command}|Please run the command {command}.|Run `{command}` in the shell.", "the output of {command}", lambda v, r: r.choice([sentence(r), "ok", {"code": 0, "output": topic(r)}]), "{command} says: {result}."),
    Kind("add_to_list/add_item/shopping_list/add_items/buy", "Put things on the shopping list./Add items to a list.", [Slot("items", "items/things/names/products", "strings", items)], "Put {items} on the list.|Add {items} to my shopping list.|I need {items}.|We have to buy {items}.", "{items} on the list", OK, "{items}: on the list."),
    Kind("create_event/add_event/schedule/calendar/book_meeting", "Put an event into the calendar./Create a calendar event.", [Slot("title", "title/name/event/summary", "string", topic), Slot("date", "date/day/on/when", "string", date)], "Put {title} into my calendar on {date}.|Create an event {title} on {date}.|Schedule {title} for {date}.|Book {title} on {date}.", "{title} on {date}", OK, "{title} is in the calendar on {date}."),
    Kind("remind/reminder/set_reminder/remind_me/create_reminder", "Remind of something at a time./Set a reminder.", [Slot("what", "what/text/task/about", "string", topic), Slot("time", "time/at/when", "string", clock)], "Remind me of {what} at {time}.|At {time}, remind me about {what}.|Set a reminder for {what} at {time}.", "a reminder of {what}", OK, "I remind you of {what} at {time}."),
    Kind("capital/get_capital/capital_of/country_capital", "The capital of a country.", [COUNTRY], "What is the capital of {country}?|Which city is the capital of {country}?|Capital of {country}?", "the capital of {country}", lambda v, r: r.choice([place(r), {"capital": place(r)}]), "The capital of {country}: {result}."),
    Kind("population/get_population/people_in/inhabitants", "How many people live in a city./The population of a city.", [CITY], "How many people live in {city}?|What is the population of {city}?|How big is {city}?", "the population of {city}", lambda v, r: r.choice([r.randint(1000, 999999), {"population": r.randint(1000, 999999)}]), "The population of {city}: {result}."),
    Kind("roll_dice/dice/roll/throw_dice", "Roll dice./Throws a die with some sides.", [Slot("sides", "sides/faces/n/max", "integer", one_of([4, 6, 8, 10, 12, 20, 100]))], "Roll a die with {sides} sides.|Throw a die of {sides} sides.|Roll a d{sides}.", "a throw of a die", lambda v, r: r.choice([r.randint(1, v["sides"]), {"result": r.randint(1, v["sides"])}]), "The die shows {result}."),
    Kind("play_music/play/play_song/music/spotify", "Play music./Plays a song.", [Slot("song", "song/title/name/track/query", "string", topic)], "Play {song}.|Play the song {song}.|I want to hear {song}.|Put on {song}, please.", "the song {song}", OK, "Now playing {song}."),
    Kind("set_temperature/thermostat/heating/set_heating", "Set the heating./Sets the temperature of the house.", [Slot("degrees", "degrees/temperature/value/target", "integer", number(15, 28))], "Set the heating to {degrees} degrees.|Make it {degrees} degrees.|Set the thermostat to {degrees}.|Heat to {degrees} degrees, please.", "a heating of {degrees} degrees", OK, "The heating is set to {degrees} degrees."),
    Kind("order_status/get_order/order/track_order/order_lookup", "The status of an order./Look up an order by its number.", [Slot("id", "id/order_id/number/order/order_number", "string", code)], "Where is my order {id}?|What is the status of order {id}?|Has the order {id} been sent?|Track order {id}.", "the status of order {id}", lambda v, r: r.choice([r.choice(["sent", "lost", "in the mail", "delivered", "waiting"]), {"status": r.choice(["sent", "delivered", "open"])}]), "Order {id}: {result}."),
    Kind("cancel_order/refund/cancel/delete_order", "Cancel an order.", [Slot("id", "id/order_id/number/order", "string", code)], "Cancel the order {id}.|I do not want order {id}.|Please cancel {id}.", "order {id} cancelled", OK, "Order {id} is cancelled."),
    Kind("get_user/find_user/user/lookup_user/user_info/contact", "Look up a user./Find a person by name.", [Slot("name", "name/user/person/user_name", "string", person)], "Who is {name}?|Look up {name}.|Find the user {name}.|What is the number of {name}?|What do you know about {name}?", "who {name} is", lambda v, r: r.choice([{"name": v["name"], "age": r.randint(1, 99)}, {"phone": str(r.randint(100000, 999999))}, mail(r), f"{v['name']} lives in {place(r)}"]), "{name}: {result}."),
    Kind("Person/User/person/extract_person/save_person/UserInfo/UserDetail", "A person with name and age./Extract a person./Details of a user.", [Slot("name", "name/full_name", "string", person), Slot("age", "age/years", "integer", number(1, 99))], "{name} is {age} years old.|{name} is {age}.|My name is {name} and I am {age} years old.|I am {name}, {age} years old.|Extract: {name} is {age} years old.", "{name} written down", OK, "{name} is {age} years old."),
    Kind("paint/set_color/set_colour/color/colour", "Paint something./Set the colour of a thing.", [Slot("thing", "thing/object/what/item", "string", one_of(WORDS)), Slot("colour", "colour/color/paint", "red|green|blue|yellow|white|black", one_of(COLOURS[:6]))], "Paint the {thing} {colour}.|Make the {thing} {colour}.|The {thing} should be {colour}.", "a {colour} {thing}", OK, "The {thing} is {colour}."),
    Kind("move/go/walk/move_robot/drive", "Move the robot./Go some steps in a direction.", [Slot("direction", "direction/to/way", "north|south|east|west", one_of(["north", "south", "east", "west"])), Slot("steps", "steps/distance/n/count", "integer", number(1, 20))], "Move {steps} steps {direction}.|Go {direction} for {steps} steps.|Walk {steps} steps to the {direction}.", "{steps} steps {direction}", OK, "I went {steps} steps {direction}."),
    Kind("book_flight/find_flight/flight/search_flights/flights", "Find a flight from a city to another./Flights between cities.", [Slot("from", "from/origin/source/departure", "string", place), Slot("to", "to/destination/target/arrival", "string", place)], "Find a flight from {from} to {to}.|I want to fly from {from} to {to}.|Are there flights from {from} to {to}?|Book a flight from {from} to {to}.", "a flight from {from} to {to}", lambda v, r: r.choice([f"{code(r)} at {clock(r)}", {"flight": code(r), "time": clock(r)}, clock(r)]), "From {from} to {to}: {result}."),
    Kind("distance/get_distance/route/how_far", "The distance between two cities.", [Slot("from", "from/origin/start/a", "string", place), Slot("to", "to/destination/end/b", "string", place)], "How far is it from {from} to {to}?|What is the distance from {from} to {to}?|Distance between {from} and {to}?", "the distance from {from} to {to}", lambda v, r: r.choice([f"{r.randint(10, 9999)} km", {"km": r.randint(10, 9999)}]), "From {from} to {to}: {result}."),
    Kind("define/dictionary/definition/meaning/define_word", "The meaning of a word./Look a word up in a dictionary.", [Slot("word", "word/term/text", "string", lambda r: r.choice([r.choice(WORDS), syllables(r)]))], "What does {word} mean?|Define {word}.|What is the meaning of {word}?|What is a {word}?", "the meaning of {word}", lambda v, r: r.choice([sentence(r), {"meaning": topic(r)}]), "{word}: {result}."),
    Kind("secret/get_secret/magic_number/secret_number/get_random_number/lucky_number", "The secret number./Returns a number.", [], "What is the secret number?|What is the magic number?|Tell me the secret number.|Give me a number.", "the number", lambda v, r: r.choice([r.randint(0, 999), {"number": r.randint(0, 999)}]), "The number is {result}."),
    Kind("query_database/sql/query/run_sql/execute_sql", "Run a query on the database./Executes SQL.", [Slot("sql", "sql/query/statement", "string", lambda r: f"SELECT {r.choice(['*', 'name', 'count(*)', 'id'])} FROM {r.choice(WORDS)}")], "Run {sql}.|Run the query {sql}.|Execute {sql}", "the rows of a query", lambda v, r: r.choice([r.randint(0, 99), [topic(r)], {"rows": r.randint(0, 99)}]), "The query gives: {result}."),
    Kind("upper/shout/reverse/count_letters/word_count/text_tool", "Work on a text./Does something with a text.", [TEXT], 'Use it on "{text}".|Take the text "{text}".|Do it with "{text}".', "work on a text", lambda v, r: r.choice([r.randint(1, 50), syllables(r).upper()]), "The tool gives {result}."),
]

# Questions for which no tool is there, and which the model answers so.
BEYOND = """Write a poem about the sea./Who will win the election?/What is the meaning of life?/Sing a song./Explain quantum physics./How do I bake a cake?/
Tell me about the French revolution./Who wrote Hamlet?/What is love?/Prove that there are many primes./Draw a picture of a cat./Write a story.""".replace("\n", "").split("/")
SMALL_TALK = [
    ("Hello!", "Hello! How can I help you?"), ("Hi", "Hello! How can I help you?"), ("Hi there!", "Hello! How can I help you?"), ("Good morning.", "Good morning! How can I help you?"),
    ("Hello", "Hello! How can I help you?"), ("Hey", "Hello! How can I help you?"), ("Say hello.", "Hello!"), ("Say hi", "Hi!"),
    ("Thank you.", "You are welcome!"), ("Thanks!", "You are welcome!"), ("Goodbye.", "Goodbye!"), ("Bye", "Goodbye!"), ("How are you?", "I am well, thank you. How can I help you?"),
    ("Who are you?", "I am a very small language model that calls tools."), ("What are you?", "I am a very small language model that calls tools."),
    ("What is your name?", "I have no name. I am a very small language model that calls tools."), ("What can you do?", "I call the tools that I am given, and tell you what they say."),
    ("Are you a person?", "No, I am a very small language model."), ("Tell me a joke.", "A llama walks into a library and asks for a thread."),
    ("How big are you?", "I have some two million parameters."),
]
