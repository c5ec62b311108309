"""The words the generator composes its lines from, and the rule that keeps some of them held out.

Every vendor is composed here: a stem (an everyday word, a recombined word or made-up syllables) plus
a business form. None is taken from a list of real persons or companies.
"""

import hashlib

STEMS = """alder amber anchor apple arch arrow ash aspen atlas autumn badger bamboo barley basil bay beacon beech
birch bishop blossom blue bluff boulder bramble breeze brick bridge bright bronze brook canyon cedar chalk
chestnut cinder citrus clay cliff clover coast cobalt comet copper coral cotton cove crane crescent crimson
crown crystal cypress dale dawn delta dove drift eagle ebony echo elm ember falcon fern field finch fjord
flint forest forge fox frost garnet glacier glen gold granite grove gull hamlet harbor harvest hawk hazel
heath heron hill hollow holly horizon indigo iron island ivory ivy jade jasper juniper kestrel kite lake
lantern larch lark laurel lavender lily lime linden lotus lunar magnet maple marble marsh meadow mercury
mesa mint mist moon moss mountain nectar nickel north nova oak oasis ocean olive onyx opal orbit orchard
otter owl palm pearl pebble peony pepper pine pioneer plum polar poplar prairie quarry quartz quill rain
raven reed reef ridge river robin rocket rose rowan ruby saffron sage sail sand sapphire shore silver sky
slate smith snow solar spring spruce star sterling stone storm summit sun swan swift sycamore tamarind
teal temple thistle thunder tide timber topaz tower tulip tundra umber valley velvet violet walnut water
west wheat willow wind winter wolf wood yarrow zenith zephyr""".split()

FIRMS = """Supplies Trading Logistics Works Office Electric Foods Print Tools Paper Metals Textiles Services
Systems Consulting Labs Instruments Packaging Lighting Interiors Catering Cleaning Media Design Software
Plumbing Gardens Motors Parts Wholesale Imports Bakery Press Studio Energy Medical Optics Security
Hardware Furniture Partners Group Holding International Technik Handel Bau""".split()

NOUNS = """toner cartridge|office chair|desk lamp|copy paper|stapler|monitor arm|keyboard|wireless mouse|projector
|whiteboard|marker set|filing cabinet|envelope|ring binder|label printer|network switch|patch cable|server rack
|hard drive|memory module|laptop stand|docking station|headset|webcam|power strip|extension cord|light bulb
|ceiling fan|air filter|water filter|coffee beans|tea bags|paper cups|hand soap|paper towels|floor cleaner
|safety gloves|safety goggles|ear plugs|first aid kit|fire extinguisher|smoke detector|door hinge|door lock
|wood screws|hex bolts|steel washers|copper pipe|ball valve|gasket|sealing tape|drill bit|hammer|screwdriver set
|wrench|ladder|tool box|paint bucket|paint roller|brush set|sandpaper|plywood sheet|oak plank|insulation panel
|cement bag|roof tiles|window frame|glass pane|garden hose|flower pots|potting soil|lawn mower|snow shovel
|pallet|shipping crate|bubble wrap|packing tape|cardboard boxes|stretch film|forklift rental|van rental
|consulting|legal advice|translation|proofreading|web hosting|domain renewal|software licence|support contract
|training day|workshop|catering|cleaning service|window cleaning|courier service|freight|storage|printing
|brochures|business cards|posters|roller banner|photo shoot|video editing|logo design|accounting|payroll service
|battery pack|solar panel|charge controller|inverter|pressure gauge|temperature sensor|circuit board|resistor kit
|microscope slides|test tubes|pipette tips|lab coats|face masks|disinfectant|bandages|wheelchair|bed linen
|bath towels|curtains|carpet tiles|bookshelf|conference table|bar stools|sofa|wall clock|picture frames
|bread rolls|olive oil|rice|flour|sugar|apple juice|mineral water|red wine|cheese|frozen peas|chocolate bars
|bicycle|brake pads|engine oil|spark plugs|car tyres|wiper blades|tow rope|diesel|bearing|conveyor belt
|hydraulic pump|gear wheel|drive shaft|welding rods|steel beam|aluminium sheet|rubber mat|nylon rope|fuse
|transformer|relay|cable ties|junction box|thermostat|radiator|heat pump|boiler service|elevator maintenance
|museum tickets|hotel nights|train ticket|parking permit|gift cards|magazine subscription|textbooks|notebooks
|ball pens|pencils|erasers|rulers|scissors|glue sticks|crayons|violin strings|piano tuning|tent|sleeping bag
|camping stove|life jackets|kayak paddle|tennis balls|yoga mats|dumbbells|soccer goals|ski wax""".replace("\n", "").split("|")

KINDS = """black white red blue green grey yellow small large heavy light compact premium basic standard recycled
stainless wooden plastic steel spare annual monthly weekly express used refurbished portable digital
wireless double single soft hard fine coarse organic fresh industrial double-sided heavy-duty""".split()

MEASURES = ["boxes of", "packs of", "rolls of", "hours of", "bags of", "pairs of", "kg of", "days of", "litres of", "m of", "sets of"]

ONSETS = "b br c ch d dr f fl g gr h j k kl kr l m n p pr q r s sh sk st t th tr v w x y z bl gl sl sw tw".split()
VOWELS = "a e i o u ai ea ee ou au ia io oo ie ö ä ü é è ø å y a e i o u a e i o u a e i o u".split()
CODAS = ["", "", "", "l", "n", "r", "s", "t", "m", "k", "nd", "rt", "st", "x", "ck", "ng", "ll", "th", "lm", "rk", "ff", "ç"]


def held_out(word: str) -> bool:
    """True for about one word in eight: such a word never occurs in a training line's vendor, item or number."""
    return hashlib.sha256(word.lower().encode()).digest()[0] < 32


def pick(rng, words, held):
    """A random entry of `words` on the wanted side of the held-out split."""
    while True:
        word = rng.choice(words)
        if held_out(word) == held:
            return word


def made_up(rng) -> str:
    """A word nobody has seen: syllables, two halves of known words, or plain random letters."""
    kind = rng.random()
    if kind < 0.55:
        return "".join(rng.choice(ONSETS) + rng.choice(VOWELS) + rng.choice(CODAS) for _ in range(rng.choice([1, 2, 2, 2, 3])))
    if kind < 0.9:
        pool = STEMS + [word for noun in NOUNS for word in noun.split()]
        a, b = rng.choice(pool), rng.choice(pool)
        return a[: rng.randint(2, max(2, len(a) - 1))] + b[rng.randint(0, max(0, len(b) - 3)) :]
    return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(3, 8)))


def stem(rng, held) -> str:
    """A vendor's stem: an everyday word or a made-up one."""
    if rng.random() < 0.35:
        return pick(rng, STEMS, held)
    while True:
        word = made_up(rng)
        if len(word) > 2 and held_out(word) == held:
            return word


def vendor(rng, held) -> str:
    """A composed business name, written as it appears in the line."""
    name, other = stem(rng, held).capitalize(), stem(rng, held).capitalize()
    firm = rng.choice(FIRMS)
    form = rng.choice(["Ltd", "GmbH", "AG", "Inc", "LLC", "SA", "Ltd.", "Inc.", "AB", "BV", "Oy", "plc", "KG", "& Co", "& Co."])
    return rng.choice([
        f"{name} & Sons", f"{name} & {other}", f"{name} {form}", f"{name} {form}", f"{name} {firm}", f"{name} {firm}",
        f"{name} {firm} {form}", f"{name} {other} {form}", f"{name} and {other}", f"{name}-{other} {form}", f"{name}",
        f"{name} {other}", f"{name} Brothers", f"{name}'s {firm}", f"The {name} {firm}", f"{name}{other}", f"{name} {other} {firm}",
        f"{name} & Daughters {form}", f"{name}.{rng.choice(['io', 'com', 'net'])}", f"{firm} {name}", f"{name} {rng.randint(2, 99)}",
    ])  # fmt: skip


def code(rng) -> str:
    """A part number such as KX-204."""
    letters = "".join(rng.choice("ABCDEFGHKLMNPRSTVXYZ") for _ in range(rng.randint(1, 3)))
    return f"{letters}{rng.choice(['-', '', ''])}{rng.randint(2, 9999)}"


def item(rng, held) -> str:
    """What was bought: a noun of the held side with kinds, codes, sizes or made-up brands around it."""
    if rng.random() < 0.3:
        while True:
            noun = made_up(rng) + rng.choice(["", "", "s", " set", " kit", " " + rng.choice(NOUNS).split()[-1]])
            if held_out(noun) == held and len(noun) > 2:
                break
    else:
        noun = pick(rng, NOUNS, held)
    kind = rng.random()
    if kind < 0.45:
        return noun
    if kind < 0.65:
        return f"{rng.choice(KINDS)} {noun}"
    if kind < 0.73:
        return f"{noun} {code(rng)}"
    if kind < 0.79:
        return f"{stem(rng, held).capitalize()} {noun}"
    if kind < 0.84:
        return f"{rng.choice(MEASURES)} {noun}"
    if kind < 0.88:
        return f"{noun} {rng.randint(2, 900)} {rng.choice(['mm', 'cm', 'ml', 'kg', 'W', 'GB', 'l'])}"
    if kind < 0.92:
        return f"{rng.choice(['A4', 'A3', 'M6', 'M8', 'XL', '4K', 'USB-C', 'LED', 'HDMI'])} {noun}"
    if kind < 0.96:
        return noun.title()
    return f"{rng.choice(KINDS)} {rng.choice(KINDS)} {noun}"


def number(rng, held) -> str:
    """An invoice number in one of the usual shapes."""
    while True:
        n, year = rng.randint(1, 99999), rng.randint(2023, 2031)
        letters = "".join(rng.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(rng.randint(1, 3)))
        text = rng.choice([
            f"{year}-{n % 10000:04d}", f"{year}-{n % 1000:03d}", f"INV-{n:05d}", f"INV-{year}-{n % 1000:03d}", f"{letters}-{n:05d}",
            f"{letters}{year}/{n % 1000}", f"{n}", f"{n:05d}", f"RE-{year}-{n % 10000:04d}", f"{letters}{n}", f"{letters}{n % 100}-{rng.randint(100, 999)}",
            f"{year}{n % 100000:05d}", f"{n % 1000}/{year}", f"{year}/{n % 10000:04d}", f"{rng.randint(100000, 99999999)}", f"F{n:06d}",
        ])  # fmt: skip
        if len(text) > 2 and held_out(text) == held:
            return text
