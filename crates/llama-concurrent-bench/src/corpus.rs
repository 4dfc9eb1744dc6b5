//! Prompt texts: plain sentences about everyday work, composed from parts, so that texts have no long common prefix and
//! consist of words that every tokenizer knows.

use rand::{Rng, RngExt, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

/// A field of work with its people, things, places and worries.
struct Topic {
    people: &'static [&'static str],
    things: &'static [&'static str],
    places: &'static [&'static str],
    worries: &'static [&'static str],
}

const TOPICS: &[Topic] = &[
    Topic {
        people: &["the harbour master", "a young pilot", "the crane crew", "the shipping agent"],
        things: &["the container list", "a mooring line", "the tide table", "a crate of spare pumps"],
        places: &["at the north quay", "in the customs shed", "on the breakwater", "beside the fuel berth"],
        worries: &["the ferry was late again", "two manifests did not agree", "fog covered the channel"],
    },
    Topic {
        people: &["the night nurse", "a visiting doctor", "the pharmacist", "an anxious father"],
        things: &["the medication plan", "a blood sample", "the new monitor", "a bed on the third floor"],
        places: &["in the emergency ward", "at the reception desk", "in the small laboratory", "by the lifts"],
        worries: &["the results had not come back", "one dose was written twice", "the generator test was due"],
    },
    Topic {
        people: &["the database team", "an engineer on call", "the support desk", "a customer in Porto"],
        things: &["the billing service", "a failed deployment", "the message queue", "an index on the orders table"],
        places: &["in the staging cluster", "behind the load balancer", "in the log of Tuesday", "on the replica"],
        worries: &["latency doubled after lunch", "a certificate was about to expire", "retries piled up"],
    },
    Topic {
        people: &["the head gardener", "two apprentices", "the beekeeper", "a retired teacher"],
        things: &["the old pear trees", "a bag of seed potatoes", "the irrigation timer", "the compost heap"],
        places: &["behind the glasshouse", "along the south wall", "in the lower orchard", "near the pond"],
        worries: &["a late frost was forecast", "snails had found the lettuce", "the well ran low"],
    },
    Topic {
        people: &["the archivist", "a student of history", "the restorer", "the museum director"],
        things: &["a box of letters", "the parish register", "a water-stained map", "the catalogue of 1911"],
        places: &["in the reading room", "in the basement", "at the auction house", "under a sheet of glass"],
        worries: &["one page was missing", "the ink had faded", "the loan agreement ended in May"],
    },
    Topic {
        people: &["the pastry chef", "a food inspector", "the new waiter", "the owner of the mill"],
        things: &["the sourdough starter", "a crate of apricots", "the walk-in freezer", "the evening menu"],
        places: &["in the back kitchen", "at the market hall", "on the terrace", "in the cold store"],
        worries: &["the oven ran too hot", "a table of twelve came early", "the flour delivery was short"],
    },
];

const ACTS: &[&str] =
    &["checked", "moved", "described", "repaired", "ordered", "photographed", "asked about", "counted"];
const TIMES: &[&str] = &["this morning", "before the meeting", "late on Friday", "twice last week", "after the storm"];
const LINKS: &[&str] = &["because", "although", "while", "and soon after that", "even though", "just when"];
const QUESTIONS: &[&str] = &[
    "Explain what should be done first, and why.",
    "Summarise the situation in a few sentences.",
    "Write a short message to everyone concerned.",
    "List the three most likely causes.",
    "Tell the story from the point of view of a newcomer.",
    "Suggest a plan for the coming week.",
];

/// Writes text about one topic; the same seed writes the same.
pub(crate) struct Writer {
    random: ChaCha8Rng,
    topic: &'static Topic,
}

impl Writer {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let topic = &TOPICS[random.random_range(0..TOPICS.len())];
        Self { random, topic }
    }

    /// For lengths and times that belong to this text.
    pub(crate) fn random(&mut self) -> &mut impl Rng {
        &mut self.random
    }

    pub(crate) fn sentence(&mut self) -> String {
        let topic = self.topic;
        let who = self.pick(topic.people);
        let (act, thing, place) = (self.pick(ACTS), self.pick(topic.things), self.pick(topic.places));
        let sentence = match self.random.random_range(0..4) {
            0 => format!("{who} {act} {thing} {place} {}", self.pick(TIMES)),
            1 => format!("{who} {act} {thing} {} {}", self.pick(LINKS), self.pick(topic.worries)),
            2 => format!("{place}, {who} {act} {thing} number {}", self.random.random_range(2..900)),
            _ => format!("{} {}, {who} {act} {thing}", self.pick(TIMES), self.pick(topic.worries)),
        };
        let mut letters = sentence.chars();
        let first = letters.next().map(char::to_uppercase);
        first.into_iter().flatten().chain(letters).chain(['.']).collect()
    }

    pub(crate) fn question(&mut self) -> &'static str {
        self.pick(QUESTIONS)
    }

    /// Sentences of at least `tokens` tokens together, as `count` counts them.
    pub(crate) fn passage(&mut self, tokens: usize, count: &dyn Fn(&str) -> usize) -> String {
        let mut text = String::new();
        let mut length = 0;
        while length < tokens {
            let sentence = self.sentence();
            length += count(&sentence);
            text.push_str(&sentence);
            text.push(' ');
        }
        text
    }

    fn pick(&mut self, from: &[&'static str]) -> &'static str {
        from.choose(&mut self.random).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_text_and_texts_differ() {
        let words = |text: &str| text.split_whitespace().count();
        let write = |seed| Writer::new(seed).passage(300, &words);
        assert_eq!(write(7), write(7));
        assert_ne!(write(7), write(8));
        assert!((300..330).contains(&words(&write(7))), "{}", words(&write(7)));
    }
}
