//! What the demo model is shown with; scripts/demo-model says what it was trained on.

/// Story openings, one for each text on the screen.
pub const PROMPTS: [&str; 8] = [
    "Once upon a time there was a small fox who",
    "The old lighthouse keeper",
    "A curious girl named Mia lived",
    "In a land far away there lived a shy dragon",
    "One rainy morning, a little robot",
    "There was once a brave mouse who was afraid of",
    "High in the mountains, there lived",
    "This is the story of a lonely baker who",
];
