"""The words of the built-in tasks: nouns and verbs in both numbers, names, lists, sentence frames.

Sentences of `sva` follow the groups of Marvin & Linzen 2018 and stop before the verb that must
agree, as in Newman et al. 2021; the words are our own.
"""

from __future__ import annotations

import re


def listing(text: str) -> tuple[str, ...]:
    """Return the words of `text`."""
    return tuple(text.split())


_IRREGULAR_VERBS = {"are": "is", "were": "was", "have": "has"}
_IRREGULAR_NOUNS = {"man": "men", "woman": "women", "child": "children"}


def third_person(base: str) -> str:
    """Return the third person singular of a verb, such as "carries" for "carry"."""
    return _IRREGULAR_VERBS.get(base) or _add_s(base)


def _nouns(text: str) -> tuple[tuple[str, str], ...]:
    return tuple((noun, _IRREGULAR_NOUNS.get(noun) or _add_s(noun)) for noun in listing(text))


def _verbs(text: str) -> tuple[tuple[str, str], ...]:
    return tuple((third_person(base), base) for base in listing(text))


def _add_s(word: str) -> str:
    """Spell a regular plural or third person singular; both follow the same rule."""
    if re.search(r"(s|x|z|ch|sh|o)$", word):
        return word + "es"
    if re.search(r"[^aeiou]y$", word):
        return word[:-1] + "ies"
    return word + "s"


ANIMATE_NOUNS = _nouns(
    """
    doctor teacher farmer officer writer lawyer player student worker artist
    pilot manager author driver woman man child friend customer minister
    senator singer actor soldier scientist engineer dancer painter speaker visitor
    """
)
"""(singular, plural) of people."""

INANIMATE_NOUNS = _nouns(
    """
    book movie picture song car game table ship train machine
    window plane map phone film painting novel poem computer newspaper
    """
)
"""(singular, plural) of things that people make, use or like."""

TRANSITIVE_VERBS = _verbs("like know love hate help trust see remember watch need want fear")
"""(singular, plural) of verbs that take a person or a thing as their object."""

INTRANSITIVE_VERBS = _verbs("laugh smile sing dance walk run work talk cook travel drive wait")
"""(singular, plural) of verbs that need no object."""

# A bare form that is also a past tense ("put", "read", "found", "lay") agrees with both
# numbers and is left out.
VERB_PAIRS = tuple(
    dict.fromkeys(
        (
            *_verbs("are were have do go say"),
            *TRANSITIVE_VERBS,
            *INTRANSITIVE_VERBS,
            *_verbs(
                """
                accept achieve acknowledge acquire act adapt add address admit adopt affect agree
                aim allow announce answer appear apply approach approve argue arise arrive ask
                assert assume attack attempt attract avoid base become begin believe belong bend
                benefit bind bite block blow boast break breathe bring build burn buy calculate
                call care carry catch cause celebrate challenge change charge check choose
                cite claim clean close collect combine come compare complain complete
                concern conclude confirm connect consider consist constitute contain continue
                contribute control convert convey convince cook count cover crash create cross cry
                deal decide declare define deliver demand demonstrate deny depend depict describe
                deserve design desire destroy detect determine develop die differ discover discuss
                display divide double doubt drag draw dream drink drop eat emerge emphasize employ
                enable encourage end engage enjoy ensure enter escape establish estimate evaluate
                examine exceed exhibit exist expand expect experience explain explore express
                extend face fail fall feature feed feel fight fill find finish fix float flow fly
                focus follow force form function gain generate get give grab grant grow guide
                handle hang happen head hear hide highlight hold hope identify ignore
                illustrate implement imply impose improve include increase indicate inform insist
                intend introduce invite invoke involve issue join judge jump keep kick kill
                kiss lack land last lead learn leave lie lift limit link live load lock look lose
                maintain make manage march mark match matter mean measure meet mention mind miss
                mix monitor move note notice object observe obtain occur offer open operate order
                organize outline overlook owe own paint participate pass pay perform permit pick
                place plan play point possess predict prefer prepare present press prevent proceed
                process produce promise promote propose protect prove provide pull push qualify
                question quote rain raise range reach react realize recall receive recognize
                recommend record reduce refer reflect refuse regard reject relate release rely
                remain remind remove repeat replace report represent request require resemble
                reserve respond rest restore retain return reveal review reward ride ring rise
                roll rule satisfy save scream search seek seem select sell send separate serve
                shake share shift shoot shout show sign sink sit smell solve sound speak spell
                spend spin stand start state stay steal step stick stop store stress stretch
                strike struggle study succeed suffer suggest suit supply support surround
                survive suspect sustain swing switch take talk taste teach tell tend test thank
                think threaten throw tie touch trace track trade train transfer transform
                translate treat trigger try turn understand undergo update use utilize value
                vary view violate visit vote warn waste wave weigh welcome whisper win
                wish wonder worry write yield listen admire swim sleep earn imagine knock publish
                stare suppose wash attend blame borrow chase climb compete defend disagree edit
                gather greet guess hire hunt inspire invest lend oppose perceive pour praise pray
                pursue relax resist retire rush settle shine skip smoke wander wipe
                """
            ),
        )
    )
)
"""(third person singular, plural) of the verbs that count as answers; no form is in both."""

PREPOSITIONS = ("near", "behind", "next to", "in front of", "across from", "beside")
"""Between two people."""

THING_PREPOSITIONS = ("from", "by", "near", "of")
"""Between a thing and a person."""

SAID = ("said", "thought", "knew", "heard", "believed")
"""Verbs whose complement is a whole sentence; past, so they agree with both numbers."""

LONG_PHRASES = tuple(
    (third_person(base), base, rest)
    for base, rest in (
        ("know", "many very old songs"),
        ("like", "to walk in the park"),
        ("work", "in a small office every day"),
        ("write", "a letter to the family every week"),
        ("watch", "the news on television"),
        ("want", "to see more of the world"),
    )
)
"""(singular, plural, what follows the verb) of long verb phrases."""


EVENTS = listing(
    """
    war siege campaign project battle crisis reign conflict dispute famine
    drought epidemic plague rebellion revolt revolution uprising expedition journey voyage
    tour mission operation occupation invasion alliance treaty dynasty era period
    regime rule government empire colony construction restoration renovation exploration inquiry
    investigation trial case debate discussion negotiation exhibition tournament league competition
    contest rivalry feud quarrel strike boycott embargo blockade ban restriction
    protest movement struggle fight resistance persecution purge exile imprisonment sentence
    marriage friendship partnership romance engagement career tenure presidency course program
    study experiment survey trend fashion boom recession depression inflation decline
    recovery expansion growth migration settlement trade monopoly lease contract agreement
    pact collaboration cooperation effort initiative reform transition outbreak illness pursuit
    search quest adventure production shortage hostility peace prosperity unrest controversy
    """
)


FEMALE_NAMES = listing(
    """
    Mary Jennifer Sarah Jessica Lisa Susan Linda Emily Anna Laura
    Karen Nancy Amanda Patricia Michelle Rachel Amy Nicole Emma Rebecca
    Sandra Betty Ashley Donna Carol Melissa Deborah Stephanie Sharon Kathleen
    Angela Helen Katherine Christine Catherine Janet Maria Diane Julie Heather
    Victoria Christina Lauren Olivia Martha Megan Andrea Alice Hannah Julia
    """
)

MALE_NAMES = listing(
    """
    John James Robert Michael David William Thomas Daniel Kevin Matthew
    Richard Joseph Charles Christopher Anthony Steven Paul Andrew Joshua Brian
    Kenneth George Edward Ronald Timothy Jason Jeffrey Ryan Jacob Gary
    Nicholas Eric Jonathan Stephen Larry Justin Scott Brandon Benjamin Samuel
    Gregory Alexander Raymond Patrick Jack Adam Nathan Henry Peter
    """
)


_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_NUMBER_WORDS = (
    *("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen"),
    *("sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
_ORDINALS = (
    *("first", "second", "third", "fourth", "fifth"),
    *("sixth", "seventh", "eighth", "ninth", "tenth"),
)

ORDERED_LISTS: dict[str, tuple[str, ...]] = {
    "numbers": tuple(str(number) for number in range(1, 201)),
    "number_words": _NUMBER_WORDS,
    "ordinals": _ORDINALS,
    "weekdays": (*_WEEKDAYS, _WEEKDAYS[0]),
    "months": (*_MONTHS, _MONTHS[0]),
    "short_weekdays": tuple(day[:3] for day in _WEEKDAYS),
    "short_months": tuple(month[:3] for month in _MONTHS),
    "capital_letters": tuple(chr(ord("A") + place) for place in range(26)),
}
"""Every list in order, without the leading space; its neighbours are 288 pairs in all.

Full weekdays and months end with their first item again, so that the last one has a successor.
"""


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


REPEATED_WORDS = (
    *(singular for singular, _ in (*ANIMATE_NOUNS, *INANIMATE_NOUNS)),
    *EVENTS,
)
"""Nouns that are repeated in any order, without meaning."""


CAPITALS = tuple(
    tuple(words.split())
    for words in """
    France Paris, Germany Berlin, Italy Rome, Spain Madrid, Portugal Lisbon, Austria Vienna,
    Ireland Dublin, Norway Oslo, Sweden Stockholm, Denmark Copenhagen, Finland Helsinki,
    Poland Warsaw, Hungary Budapest, Greece Athens, Russia Moscow, Ukraine Kiev, Egypt Cairo,
    Kenya Nairobi, Iraq Baghdad, Iran Tehran, Syria Damascus, Lebanon Beirut, Japan Tokyo,
    China Beijing, India Delhi, Thailand Bangkok, Vietnam Hanoi, Indonesia Jakarta, Cuba Havana,
    Peru Lima, Chile Santiago, Canada Ottawa, Australia Canberra, England London,
    Scotland Edinburgh, Wales Cardiff, Belgium Brussels, Switzerland Bern, Jamaica Kingston,
    Serbia Belgrade, Croatia Zagreb, Bulgaria Sofia, Romania Bucharest, Afghanistan Kabul,
    Pakistan Islamabad, Turkey Ankara, Libya Tripoli, Taiwan Taipei, Korea Seoul, Latvia Riga
    """.replace("\n", " ").split(",")
)
"""(country, capital)."""

CAPITAL_FRAMES = (
    "The capital of {country} is the city of",
    "The capital city of {country} is called",
    "Question: What is the capital of {country}? Answer:",
    "The government of {country} has its seat in the city of",
    "Anyone who travels through {country} should visit its capital,",
    "The largest newspapers of {country} come from the capital,",
)


ACRONYM_FRAME = "The {first} {second} {third} ({letters}"
"""A name and the first two letters of its acronym (García-Carrasco et al. 2024)."""

ACRONYM_WORDS = (
    listing(
        """
        National International American European British Canadian Royal General Federal Central
        Global Public Social United Western Eastern Northern Southern Modern Local Regional
        Independent Young Urban African Asian Indian Japanese German French Italian Open New Joint
        """
    ),
    listing(
        """
        Health Research Science Security Energy Education Development Defense Art Music Film Food
        Water Trade Transport Housing Medical Nuclear Cancer Climate Language Labor Law Marine
        Military Media Ocean Oil Peace Physics Press Quality Radio Rail Road Space Steel Television
        Technology Tax Weather Wildlife Youth Financial Human Information Justice Engineering
        """
    ),
    listing(
        """
        Agency Association Academy Bank Board Council Center Committee Department Division
        Exchange Foundation Fund Group Guild Hospital House Institute Laboratory League Museum
        Ministry Network Office Organization Party Program Registry Society School Service Trust
        Team University Union Village Workshop
        """
    ),
)
"""First, second and third words of names."""


DOCSTRING_FRAME = """def {name}(self, {before}, {first}, {second}, {third}, {fourth}):
    \"\"\"{w1} {w2} {w3}

    :param {first}: {w4} {w5}
    :param {second}: {w6} {w7}
    :param"""
"""A Python function whose docstring lists its arguments (Heimersheim & Janiak 2023)."""

ARGUMENTS = listing(
    """
    load size files last page names state code number format order obj shape item option image
    config user title options header match found function array path line node test file string
    server msg new val label session log name data fields token target results event status
    context count source model version valid color result output field request task parent key
    value index length width height start end mode type text url query filter group level limit
    """
)

SUM_FRAMES = (
    "{a} + {b} =",
    "The sum of {a} and {b} is",
    "Question: What is {a} plus {b}? Answer:",
)
