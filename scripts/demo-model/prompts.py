"""What the demo model is shown with: story openings to continue and questions to answer."""

STORIES = [
    "Once upon a time there was a small fox who",
    "The old lighthouse keeper",
    "A curious girl named Mia lived",
    "In a land far away there lived a shy dragon",
    "One rainy morning, a little robot",
    "There was once a brave mouse who was afraid of",
    "High in the mountains, there lived",
    "This is the story of a lonely baker who",
]
QUESTIONS = [
    "Who are you?",
    "What is an otter?",
    "What is 3 + 4?",
    "What day comes after Friday?",
    "What is a thread?",
    "Tell me a story about a penguin who found a golden key.",
    "How do you say hello in French?",
    "Show me a fox.",
]
