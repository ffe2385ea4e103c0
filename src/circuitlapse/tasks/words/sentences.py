"""The fixed text of the indirect-object, gendered-pronoun and greater-than prompts."""

IOI_FRAMES = (
    "Then, {first} and {second} went to the {place}. {s2} gave a {object} to",
    "Then, {first} and {second} had a lot of fun at the {place}. {s2} gave a {object} to",
    "Then, {first} and {second} were working at the {place}. {s2} decided to give a {object} to",
    "Then, {first} and {second} were thinking about going to the {place}. "
    "{s2} wanted to give a {object} to",
    "Then, {first} and {second} had a long argument, and afterwards {s2} said to",
    "After {first} and {second} went to the {place}, {s2} gave a {object} to",
    "When {first} and {second} got a {object} at the {place}, {s2} decided to give it to",
)
"""Two people, then one of them (`s2`) gives; the default frames of Wang et al. 2022."""

IOI_PLACES = ("market", "school", "library", "station", "hospital", "museum", "park", "house")
IOI_OBJECTS = ("book", "kiss", "ring", "letter", "ticket", "drink", "flower", "toy")

GP_FRAME = "So {name} is {description}, isn't"
"""The start of a tag question; the pronoun follows (Mathwin et al. 2023)."""

GP_DESCRIPTIONS = (
    "such a good cook",
    "a very good athlete",
    "such a funny person",
    "a really great friend",
    "a really nice person",
)

GT_FRAME = "The {noun} lasted from the year {century}{yy} to the year {century}"
"""A span of years whose last two digits are missing (Hanna et al. 2023)."""
