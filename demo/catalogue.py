"""What the shop of the demo sells, what goes wrong with it, and who writes in."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """What an item does wrong, as said after its name, and two things to try."""

    clause: str
    first: str
    second: str


@dataclass(frozen=True, slots=True)
class Fact:
    """A question before buying, and its answer; `{product}` is filled in."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Kind:
    """Items that share faults and facts."""

    items: tuple[str, ...]
    faults: tuple[Fault, ...]
    facts: tuple[Fact, ...]


KINDS = (
    Kind(
        items=("kettle", "toaster", "blender", "coffee machine", "iron", "rice cooker"),
        faults=(
            Fault("does not switch on", "try another socket", "check the fuse in the plug"),
            Fault("switches off after a minute", "let it cool down", "descale it with vinegar"),
            Fault("leaks water", "empty it", "press the seal back into place"),
            Fault("smells of burning", "unplug it", "clean the heating plate"),
        ),
        facts=(
            Fact("how much power does the {product} use", "It uses 1800 watts"),
            Fact("can I put the {product} in the dishwasher", "Please wash it by hand"),
            Fact("how long is the cable of the {product}", "The cable is one metre long"),
        ),
    ),
    Kind(
        items=("lamp", "heater", "fan", "humidifier", "air purifier"),
        faults=(
            Fault("flickers", "tighten the bulb or the cover", "use a socket without a dimmer"),
            Fault("makes a loud noise", "place it on level ground", "clean the filter"),
            Fault("stays cold", "set the dial to the highest step", "reset it at the back"),
        ),
        facts=(
            Fact("how loud is the {product}", "It is as quiet as a whisper"),
            Fact("does the {product} have a timer", "It has a timer of up to eight hours"),
            Fact("how large a room does the {product} suit", "It suits rooms of 30 square metres"),
        ),
    ),
    Kind(
        items=("router", "camera", "doorbell", "printer", "thermostat"),
        faults=(
            Fault("does not connect to Wi-Fi", "restart the router", "enter the password again"),
            Fault("loses the connection", "move it closer to the router", "update the firmware"),
            Fault("shows a red light", "hold the reset button for ten seconds", "run the set-up"),
        ),
        facts=(
            Fact("does the {product} work without the app", "It needs the app once, for set-up"),
            Fact("does the {product} work with 5 GHz Wi-Fi", "It works with 2.4 and 5 GHz"),
            Fact("is the {product} weatherproof", "It may be used indoors and under a roof"),
        ),
    ),
    Kind(
        items=("headset", "speaker", "radio", "soundbar", "microphone"),
        faults=(
            Fault("has no sound", "raise the volume", "choose it as the output device"),
            Fault("crackles", "lower the bass", "plug the cable in again"),
            Fault("does not pair", "turn Bluetooth off and on", "delete the old pairing"),
        ),
        facts=(
            Fact("how long does the {product} play on one charge", "It plays for twenty hours"),
            Fact("can I use the {product} with two phones", "It can be paired with two phones"),
            Fact("does the {product} come with a cable", "A cable is in the box"),
        ),
    ),
    Kind(
        items=("tablet", "watch", "keyboard", "drill", "torch", "toothbrush"),
        faults=(
            Fault("does not charge", "try another cable", "clean the charging port"),
            Fault("runs out of battery within an hour", "update it", "turn off the sensors"),
            Fault("freezes", "hold the power button for ten seconds", "reset it to the defaults"),
        ),
        facts=(
            Fact("how long does the {product} take to charge", "It is full after two hours"),
            Fact("can the battery of the {product} be replaced", "Our workshop can replace it"),
            Fact("is the {product} waterproof", "It survives rain, but not a bath"),
        ),
    ),
    Kind(
        items=("desk", "chair", "shelf", "bed", "wardrobe"),
        faults=(
            Fault("wobbles", "tighten the screws at the base", "turn the feet until it is level"),
            Fault("has a loose leg", "tighten the bolt", "add the spare washer from the bag"),
            Fault("creaks", "tighten every joint", "put a felt pad under each foot"),
        ),
        facts=(
            Fact("how much weight does the {product} carry", "It carries 120 kilograms"),
            Fact("is the {product} easy to assemble", "Two people assemble it in half an hour"),
            Fact("what is the {product} made of", "It is made of oak from certified forests"),
        ),
    ),
    Kind(
        items=("tent", "backpack", "suitcase", "jacket", "sleeping bag", "bicycle bag"),
        faults=(
            Fault("has a stuck zip", "rub the zip with candle wax", "pull the slider back slowly"),
            Fault("lets water in", "spray it with sealant", "let it dry before packing it"),
            Fault("has a torn strap", "use the spare strap", "tie the loose end"),
        ),
        facts=(
            Fact("how heavy is the {product}", "It weighs a little over two kilograms"),
            Fact("is the {product} waterproof", "It withstands a night of heavy rain"),
            Fact("can I wash the {product} in the machine", "Wash it cold, without softener"),
        ),
    ),
)

NO_FAULT = Fault("is not right", "read the quick guide", "check that no part is missing")

BRANDS = (
    *("Aurora", "Nimbus", "Vega", "Orion", "Lumen", "Polar", "Cedar", "Atlas", "Tern", "Willow"),
    *("Juno", "Kestrel", "Sierra", "Onyx", "Maple", "Delta", "Ember", "Fjord", "Halo", "Iris"),
    *("Pico", "Quill", "Rowan", "Sable", "Tundra", "Umbra", "Zephyr", "Birch", "Coral", "Heron"),
)

NAMES = (
    *("Anna", "Ben", "Carla", "David", "Elena", "Felix", "Grace", "Hugo", "Ines", "Jonas"),
    *("Kira", "Leon", "Maria", "Nils", "Olga", "Paul", "Rita", "Sam", "Tara", "Uwe"),
    *("Vera", "Will", "Yara", "Zoe", "Aisha", "Bruno", "Chen", "Diego", "Emma", "Farid"),
    *("Hana", "Ivan", "Jane", "Kofi", "Lucia", "Mehmet", "Nora", "Omar", "Priya", "Tomas"),
)

CITIES = (
    *("Berlin", "Paris", "Rome", "Madrid", "Vienna", "Oslo", "Dublin", "Prague", "Lisbon"),
    *("Turin", "Ghent", "Leeds", "Lyon", "Bergen", "Graz", "Porto", "Utrecht", "Zurich"),
)

COLOURS = ("black", "white", "red", "blue", "green", "grey", "yellow", "brown")
