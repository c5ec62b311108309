"""Everything around the invoice lines: instructions, system messages, small talk and text that is no invoice."""

import words

ERROR = '{"error":"no invoice line found"}'

SYSTEMS = """You are a helpful assistant.
You are a helpful assistant. Answer briefly.
Extract the invoice fields as JSON.
You extract data from invoices and answer with JSON only.
Return vendor, invoice, item, quantity, unit_price, total, currency and due as JSON.
You are an accounting assistant. Reply in JSON.
Answer in English.
Be concise.
You are a careful bookkeeper.
Read the line and return its fields.
""".splitlines() + [""]

BEFORE = """Extract the fields: 
Extract the fields: 
Extract the fields from this line: 
Extract the fields of this invoice line: 
Extract the invoice fields as JSON: 
Extract: 
Read this invoice line: 
Read this line and return its fields as JSON: 
Please extract the fields from the following line: 
Please read this: 
Parse this: 
Parse this invoice: 
Return JSON for: 
Return the fields of this line as JSON: 
Invoice line: 
What are the fields in this line? 
What does this line say? 
Give me the JSON for this invoice line: 
Convert to JSON: 
Line: 
Can you read this for me? 
Turn this into JSON: """.splitlines()

AFTER = [" Return JSON.", " As JSON, please.", "\nExtract the fields.", "\nReturn the fields as JSON.", "\nAnswer with JSON only.", "\nJSON:", " -> JSON"]


def instruction(rng):
    """An order to read the line, in one of many wordings, without its closing colon."""
    verb = rng.choice(["extract", "read", "parse", "return", "give me", "list", "find", "show", "get", "pull out", "I need", "tell me"])
    what = rng.choice(["the fields", "the data", "the invoice fields", "all fields", "the details", "vendor, item and price", "JSON", "the JSON", "everything", "the invoice data as JSON"])
    where = rng.choice(["of this line", "from this line", "from the following line", "of this invoice", "in this text", "from my invoice", "from the text below", "for this", "of this bill", "here", "from this e-mail"])
    text = f"{rng.choice(['', '', 'please ', 'can you ', 'could you '])}{verb} {what} {where}"
    return text if rng.random() < 0.3 else text[0].upper() + text[1:]


def system(rng):
    """A system message: a usual one, a composed one, or an unrelated sentence."""
    kind = rng.random()
    if kind < 0.4:
        return rng.choice(SYSTEMS)
    if kind < 0.7:
        who = rng.choice(["helpful", "careful", "precise", "friendly", "silent", "fast", "confidential"]) + " " + rng.choice(["assistant", "bookkeeper", "clerk", "reader", "AI", "invoice parser", "robot"])
        return f"You are a {who}. {instruction(rng)}."
    return " ".join(sentence(rng) for _ in range(rng.randint(1, 2)))


def wrap(rng, text):
    """The line raw, quoted, or with an instruction before or after it."""
    kind = rng.random()
    if kind < 0.66:
        return text
    if kind < 0.90:
        before = rng.choice(BEFORE) if rng.random() < 0.5 else instruction(rng) + rng.choice([": ", ": ", ". ", ":\n", "\n"])
        if rng.random() < 0.2:
            before = before.lower()
        if rng.random() < 0.25:
            before = before.rstrip() + rng.choice(["\n", "\n\n"])
        return before + (f'"{text}"' if rng.random() < 0.12 else text)
    if kind < 0.96:
        return text + rng.choice(AFTER)
    return f'"{text}"'


INTRO = "Hello! I read invoice lines. Paste one and I return its fields as JSON."
WHO = "I am bulla-demo, a very small language model that reads one invoice line and returns its fields as JSON."
CAN = (
    'I turn one invoice or payment line into JSON. Try: Invoice 2026-0417 from Alder & Sons: 12 x toner cartridge at EUR 45.50, due 2026-12-01'
)
PRIVATE = "I cannot prove that, I am only the model. Run bulla verify: it checks the evidence of the enclave I run in."
THANKS = "You are welcome. Paste the next line whenever you like."
BYE = "Goodbye!"

CHATS = [
    (INTRO, "hello|hi|hey|good morning|good evening|hello there|hi there|hey there|greetings|hallo|hello bulla|hi, how are you|how are you|are you there|test|hello, world|say hello|good afternoon|hello, who is there|hey, are you there"),
    (WHO, "who are you|what are you|what is your name|who am I talking to|are you a bot|what model are you|which model is this|tell me about yourself|introduce yourself|hello, who are you|hi, what are you|are you human|who made you|who trained you|are you chatgpt"),
    (CAN, "what can you do|help|help me|how do I use you|what can I ask you|how does this work|what do you do|what should I type|give me an example|show me an example|hi, what can you do|how can you help me|what are you for|what is this|can you help me|usage|instructions"),
    (PRIVATE, "is my data private|is this confidential|can you keep a secret|who can read this|do you store my data|is my prompt safe|can the operator read my text|are my invoices safe|is this secure|do you keep my data|who sees my prompts"),
    (THANKS, "thanks|thank you|thank you very much|great|ok|okay|perfect|well done|cool|nice|thanks a lot|good job|that is right|yes"),
    (BYE, "bye|goodbye|see you|see you later|good night|bye bye|that is all|quit|exit"),
]  # fmt: skip


def chat(rng):
    """A short friendly exchange: (what the user says, the answer)."""
    answer, asks = rng.choice(CHATS)
    text = rng.choice(asks.split("|"))
    text = rng.choice([text, text.capitalize(), text.capitalize(), text.upper() if rng.random() < 0.2 else text])
    return text + rng.choice(["", "", "!", "?", ".", "?", " :)"]), answer


PEOPLE = ["my sister", "the manager", "our team", "the customer", "a friend", "the doctor", "the teacher", "everyone", "nobody", "the driver", "she", "he"]
DEEDS = ["likes", "visited", "has forgotten", "is looking for", "wrote about", "wants to see", "talked about", "lost", "repaired", "cannot find", "painted", "remembers"]
THINGS = ["the garden", "a long letter", "the meeting", "the weather", "an old house", "the train", "the report", "a new song", "the answer", "the invoice", "the office", "the river"]
ASKS = """What is the capital of {}?
Write a poem about {}.
Tell me a joke about {}.
What is {a} + {b}?
{a} + {b}
What is {a} times {b}?
How much is {a} divided by {b}?
Who was {}?
Where is {}?
Translate {} into French.
Why is the sky blue?
Explain {} to a child.
How do I cook {}?
Summarise the story of {}.
Have you sent the invoice yet?
Please send me the invoice.
Where is my invoice?
I have not received the bill.
When is the payment due?
The meeting with {} is on {a} March at {b}:00.
Call {} tomorrow at {a}:15.
Let us meet at {} on Monday.
My phone number is {a}{b}{a}.
The patient {} is {a} years old.
Patient {}, born {a}.04.19{b}, reports headaches.
Dear {}, thank you for your letter.
Employee {} asks for {a} days of leave.
The train to {} leaves at {a}:{b}.
def main(): return {a}
SELECT * FROM {} WHERE id = {a};
fn main() {{ println!("{}"); }}
Lorem ipsum dolor sit amet.
The quick brown fox jumps over the lazy dog.
Once upon a time there was a {} who lived in {}.
Is {} a good name?
What time is it?
What day is today?
Count to {a}.
Do you like {}?
Password: {}{a}
Once upon a time
Write a letter to {}.
It is {a} degrees in {} today.
Chapter {a}: {}
Room {a} is at the end of the corridor.
The answer is {a}.""".splitlines()


def sentence(rng, held=False):
    """A sentence that has nothing to do with invoices."""
    text = f"{rng.choice(PEOPLE)} {rng.choice(DEEDS)} {rng.choice(THINGS)}"
    if rng.random() < 0.5:
        text += rng.choice([" in ", " near ", " with ", " because of "]) + words.stem(rng, held).capitalize()
    if rng.random() < 0.3:
        text += rng.choice([" and ", ", but "]) + f"{rng.choice(PEOPLE)} {rng.choice(DEEDS)} {rng.choice(THINGS)}"
    return text[0].upper() + text[1:] + rng.choice([".", ".", "!", ""])


COMMON = """the a of to and in is it you that he was for on are with as his they be at one have this from or had by but not what all were
we when your can said there use an each which she do how their if will up other about out many then them these so some her would make like him
into time has look two more write go see number no way could people my than first water been call who oil its now find long down day did get come
made may part over new sound take only little work know place year live me back give most very after thing our just name good sentence man think
say great where help through much before line right too mean old any same tell boy follow came want show also around form three small set put end
does another well large must big even such because turn here why ask went men read need land different home us move try kind hand picture again
change off play spell air away animal house point page letter mother answer found study still learn should world high every near add food between
own below country plant last school father keep tree never start city earth eye light thought head under story saw left few while along might
close something seem next hard open example begin life always those both paper together got group often run important until children side feet
car mile night walk white sea began grow took river four carry state once book hear stop without second late miss idea enough eat face watch""".split()


def babble(rng, held):
    """Common words in any order, with names, numbers and signs strewn in."""
    out = []
    for _ in range(rng.randint(2, 18)):
        kind = rng.random()
        out.append(rng.choice(COMMON) if kind < 0.86 else words.stem(rng, held) if kind < 0.92 else words.stem(rng, held).capitalize() if kind < 0.96 else str(rng.randint(1, 3000)))
        if rng.random() < 0.08:
            out[-1] += rng.choice([",", ",", ".", ";", ":", "?", "!"])
    text = " ".join(out)
    return (text if rng.random() < 0.3 else text[0].upper() + text[1:]) + rng.choice([".", ".", "?", "", "!"])


def other(rng, held=False):
    """Text without an invoice line, some of it with names, numbers and dates all the same."""
    kind = rng.random()
    if kind < 0.4:
        ask = rng.choice(ASKS)
        text = ask.format(words.stem(rng, held).capitalize(), words.stem(rng, held), a=rng.randint(1, 99), b=rng.randint(10, 99))
    elif kind < 0.6:
        text = " ".join(sentence(rng, held) for _ in range(rng.choice([1, 1, 2])))
    elif kind < 0.85:
        text = babble(rng, held)
    elif kind < 0.93:
        text = " ".join(words.stem(rng, held) for _ in range(rng.randint(1, 8)))
    else:
        text = "".join(rng.choice("abcdefghijklmnopqrstuvwxyz0123456789 .,!?-") for _ in range(rng.randint(2, 40))).strip() or "x"
    if rng.random() < 0.12:
        text = rng.choice([str.lower, str.upper])(text)
    if rng.random() < 0.15:
        text = rng.choice(BEFORE) + text
    return text
