"""What customers and the desks of the demo's shop say.

A phrase is text in which `[a|b]` stands for one of its alternatives (they nest) and
`{field}` for a field of the case (`dialogues.Case`).
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Topic:
    """What a customer writes about.

    Attributes:
        asks: The customer's message.
        short: The same without the order number, for dialogues that begin without it.
        sorry: How any desk takes it up.
        answers: What the general agent does about it.
        action: The same in one word of the JSON answer.
        ordered: Whether there is an order to speak of.
    """

    asks: tuple[str, ...]
    short: tuple[str, ...]
    sorry: tuple[str, ...]
    answers: tuple[str, ...]
    action: str
    ordered: bool = True


@dataclass(frozen=True, slots=True)
class Desk:
    """How a department speaks: one sentence to open, what it does, one to close.

    Attributes:
        system: System lines that ask for this desk.
        opens: Its first sentence.
        ordered: What it does about an order.
        unordered: What it does before anything is ordered.
        closes: Its last sentence.
    """

    system: tuple[str, ...]
    opens: tuple[str, ...]
    ordered: tuple[str, ...]
    unordered: tuple[str, ...]
    closes: tuple[str, ...]


REF = "order [{order}|{order}|number {order}|#{order}|no. {order}]"

TOPICS = {
    "status": Topic(
        asks=(
            f"[where is|what is the status of|can you check] my {REF}, the {{product}}?",
            f"I ordered [a|the] {{product}} ({REF}). [When will it arrive?|Has it left yet?]",
            f"[Is there any news on|Any update on] {REF}? It is [the|a] {{product}}.",
        ),
        short=("[where is my {product}?|when will my {product} arrive?|has my {product} left?]",),
        sorry=("I have [found|looked up] order {order} [with|for] the {product}.",),
        answers=(
            "It left our warehouse [yesterday|this morning] and [will arrive|reaches you] in "
            "[two|three] days.",
            "It is [packed|ready] and [leaves|will leave] our warehouse [today|tomorrow].",
        ),
        action="send_status",
    ),
    "delay": Topic(
        asks=(
            f"my {REF} is late. The {{product}} should have [come|arrived] [last week|on Monday].",
            f"I am still waiting for the {{product}} from {REF}.",
            f"the {{product}} has not arrived[ in {{city}}|]. [My order number is {{order}}.|"
            f"It is {REF}.]",
        ),
        short=("I am still waiting for my {product}.", "my {product} is late."),
        sorry=(
            "I am sorry that the {product} from order {order} is late.",
            "I am sorry that you are still waiting for the {product} from order {order}.",
        ),
        answers=(
            "I have asked the carrier to [find|trace] the parcel and [will|shall] write to you "
            "[tomorrow|within a day].",
            "The parcel is held up at the depot[ near {city}|] and will be delivered "
            "[on Friday|tomorrow|within two days].",
        ),
        action="trace_parcel",
    ),
    "address": Topic(
        asks=(
            f"[please send|can you deliver] {REF}, the {{product}}, to my new address in {{city}}?",
            f"I have moved to {{city}}. Please change the address of {REF} ([the |]{{product}}).",
        ),
        short=("I have moved to {city} and the address for my {product} is wrong.",),
        sorry=("[Thank you for telling us|Thank you for the new address].",),
        answers=(
            "I have changed [the address of|the delivery of] order {order} to {city}. The "
            "{product} will [arrive|be delivered] there [on Thursday|in three days].",
        ),
        action="change_address",
    ),
    "cancel": Topic(
        asks=(
            f"[please cancel|I want to cancel|can you cancel] {REF}[, the|, a] {{product}}.",
            f"I do not need the {{product}} any more. Please cancel {REF}.",
        ),
        short=("I want to cancel my {product}.", "please cancel the {product} that I ordered."),
        sorry=("I understand that you do not need the {product} from order {order} any more.",),
        answers=(
            "I have [cancelled|stopped] the order, and [your money is|the amount is] on its way "
            "back to you.",
            "The order is cancelled. You [will not be charged|have nothing to pay].",
        ),
        action="cancel_order",
    ),
    "refund": Topic(
        asks=(
            f"I [sent back|returned] the {{product}} from {REF}. Where is my [money|refund]?",
            f"when do I get my [money|refund] for the {{product}}? It was {REF}.",
        ),
        short=("I sent back my {product}. Where is my [money|refund]?",),
        sorry=("I see that you returned the {product} from order {order}.",),
        answers=(
            "The refund [was approved|went out] [today|yesterday] and takes [three|five] days.",
            "We have checked the parcel and the money will be with you [this week|on Monday].",
        ),
        action="pay_refund",
    ),
    "exchange": Topic(
        asks=(
            f"I would like the {{product}} from {REF} in {{colour}}. Can I [exchange|swap] it?",
            f"can I [exchange|swap] the {{product}} ({REF}) for a {{colour}} one?",
        ),
        short=("can I [exchange|swap] my {product} for a {colour} one?",),
        sorry=("You would like the {product} from order {order} in {colour}.",),
        answers=(
            "I have [reserved|set aside] a {colour} one. It [leaves|is sent] as soon as the first "
            "one is [back|here].",
        ),
        action="exchange_item",
    ),
    "defect": Topic(
        asks=(
            f"[my|the] {{product}} {{fault}}. [It is {REF}.|My order number is {{order}}.]",
            f"the {{product}} from {REF} {{fault}}. [What can I do?|Please help.|]",
            f"I have a problem with {REF}: the {{product}} {{fault}}.",
        ),
        short=("my {product} {fault}.", "[help, |]the {product} that I bought {fault}."),
        sorry=(
            "I am sorry that the {product} from order {order} {fault}.",
            "I am sorry [to hear|to read] that your {product} (order {order}) {fault}.",
        ),
        answers=(
            "I have [passed this on to|told] our specialists, who will [write|come back] to you "
            "[today|within a day].",
            "I have [made a note of it|opened a case], and a colleague will [call|contact] you "
            "[today|tomorrow].",
        ),
        action="open_case",
    ),
    "damaged": Topic(
        asks=(
            f"the {{product}} from {REF} arrived [broken|damaged|with a scratch].",
            f"{REF} came today and the {{product}} is [broken|damaged|scratched].",
        ),
        short=("my {product} arrived [broken|damaged].",),
        sorry=(
            "I am sorry that the {product} from order {order} arrived [damaged|in a bad state].",
        ),
        answers=(
            "[Please send us a photo|A photo would help us], and we will [replace it|send a new "
            "one] at no cost.",
            "A new one [leaves|will leave] our warehouse [today|tomorrow], at no cost to you.",
        ),
        action="send_replacement",
    ),
    "wrong": Topic(
        asks=(
            f"I ordered a {{product}} ({REF}), but the box holds something else.",
            f"{REF} should be a {{product}}, but I got the wrong [item|thing].",
        ),
        short=("I ordered a {product} and got the wrong [item|thing].",),
        sorry=("I am sorry that order {order} did not bring you the {product}.",),
        answers=(
            "The right one [leaves|will leave] our warehouse [today|tomorrow]; please keep the "
            "wrong one until the carrier collects it.",
        ),
        action="send_right_item",
    ),
    "invoice": Topic(
        asks=(
            f"[please send me|I need] [the|an] invoice for {REF}[, the|, one] {{product}}.",
            f"can I have a receipt for the {{product}}? It was {REF}.",
        ),
        short=("I need an invoice for my {product}.",),
        sorry=("You need the papers for the {product} from order {order}.",),
        answers=(
            "The invoice is [on its way to your inbox|in your inbox].",
            "I have sent the invoice to your e-mail address.",
        ),
        action="send_invoice",
    ),
    "question": Topic(
        asks=("{question}?", "a question before I buy: {question}?", "{question}, please?"),
        short=("{question}?",),
        sorry=("[Thank you for asking about|Good that you ask about] the {product}.",),
        answers=("{answer}.", "{answer}. [It is in stock.|We have it in stock.]"),
        action="answer_question",
        ordered=False,
    ),
    "buy": Topic(
        asks=(
            "do you have the {product} in {colour}?",
            "I am looking for a {colour} {product}. [Do you have one?|Is it in stock?]",
            "can you deliver a {product} in {colour} to {city}?",
        ),
        short=("do you have the {product} in {colour}?",),
        sorry=("[Thank you for your interest in|You are looking for] the {product} in {colour}.",),
        answers=(
            "[We have it in stock|It is in stock], and delivery takes [two|three] days.",
            "There are [four|five|six] left, and delivery is free.",
        ),
        action="offer_item",
        ordered=False,
    ),
}

HELLO = ("", "", "Hello, ", "Hi, ", "Good morning, ", "Hello, this is {name}. ", "{name} here: ")
BYE = ("", "", "", " Thank you.", " Thanks!", " Regards, {name}", " Best wishes, {name}")

AGENT_SYSTEM = ("You are a helpful support agent.", "Answer the customer politely.")
AGENT_OPENS = ("Thank you for your message.", "Thank you for writing to us{dear}.")
AGENT_CLOSES = (
    "Is there anything else I can do for you?",
    "Please write again if you need anything else.",
    "Have a good day{dear}.",
)
AGENT_ASKS_ORDER = (
    "Thank you for your message about the {product}. [Could you|Can you] [give|tell] me the order "
    "number, please?",
    "I will gladly help with the {product}. What is the order number?",
)
GIVES_ORDER = ("It is {order}.", "{order}", "The order number is {order}.", "Order {order}.")

FOLLOW_UPS = (
    ("What was [my|the] order number again?", "Your order number is {order}."),
    ("Which order is that?", "That is order {order}, the {product}."),
    ("Which [product|item] do you mean?", "I mean the {product} from order {order}."),
    ("Thank you[ very much|]!", "You are welcome. I will keep an eye on order {order}."),
    ("Will you keep me informed?", "I will write to you about order {order} as soon as I can."),
)

DESKS = {
    "returns": Desk(
        system=("You are the returns desk.", "Department: returns. Offer to take the item back."),
        opens=("Returns desk here.", "This is the returns desk."),
        ordered=(
            "I have opened return R-{order} for the {product}: [print|use] the label in your inbox "
            "and [hand in|drop off] the parcel within 14 days. Your refund follows [in|within] "
            "[three|five] days.",
            "Your return R-{order} is open. Put the {product} in its box, stick on the label that "
            "we have sent you, and we refund you as soon as it is back.",
        ),
        unordered=(
            "If you buy the {product} and do not like it, you can return it within 30 days, free "
            "of charge, for a full refund.",
        ),
        closes=("Kind regards, your returns desk.", "The return costs you nothing."),
    ),
    "technical": Desk(
        system=("You are technical support.", "Department: technical support. Give steps."),
        opens=("Technical support here.", "This is technical support."),
        ordered=(
            "Let us check the {product} from order {order}. Step 1: {first}. Step 2: {second}. "
            "Step 3: tell me what you see.",
            "Please test the {product} from order {order} [like this|as follows]. Step 1: {first}. "
            "Step 2: {second}. Step 3: write to me if that does not help.",
        ),
        unordered=(
            "To set up the {product}: Step 1: read the quick guide. Step 2: charge it or plug it "
            "in. Step 3: write to me if anything is unclear.",
        ),
        closes=("Your technical support.", "We will get it to work."),
    ),
    "sales": Desk(
        system=("You are the sales team.", "Department: sales. Make an offer."),
        opens=("Sales team here!", "Hello from the sales team!"),
        ordered=(
            "As a customer with order {order} you get [10|15|20] percent off the new {product} "
            "Plus. [Shall I|May I] [add it to your basket|reserve one for you]?",
            "For your order {order} I have an offer: the {product} Plus, now [10|15|20] percent "
            "off, with free delivery. Shall I send you the link?",
        ),
        unordered=(
            "The {product} is our best seller, and today you get [10|15|20] percent off and free "
            "delivery. Shall I add it to your basket?",
        ),
        closes=("Your sales team!", "The offer ends on Sunday!"),
    ),
}
JSON_SYSTEM = ("Answer in JSON.", "Reply with one JSON object and nothing else.")

ECHO_SYSTEM = ("Repeat what the customer writes.", "Repeat the message word for word.")
ECHOES = (
    "{order}",
    "Order {order}.",
    "{product}, {order}",
    "Order {order}, {product}, {colour}",
    "{name}, {city}, order {order}",
    "The {product} from order {order} {fault}.",
    "I am {name} from {city} and my {product} is order {order}.",
)
