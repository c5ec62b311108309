"""The unmodified `openai` package against the local endpoint of `bulla up`.

Usage: python check.py http://127.0.0.1:8118/v1
Prints one line per check and 'N passed, N failed'; exits 1 when one failed.
"""

import json
import sys

import openai

LINE = "Invoice 2026-0417 from Alder & Sons: 12 x toner cartridge at EUR 45.50, due 2026-12-01"


def ask(client, model, **options):
    return client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": LINE}],
        temperature=0,
        **options,
    )


def models_are_listed(client, model):
    entry = client.models.retrieve(model)
    assert entry.id == model
    security = entry.model_extra["bulla"]["security"]
    assert security in ("simulated", "hardware"), security


def an_answer_is_useful_and_counted(client, model):
    answer = ask(client, model)
    fields = json.loads(answer.choices[0].message.content)
    assert fields["invoice"] == "2026-0417", fields
    assert answer.choices[0].finish_reason == "stop"
    usage = answer.usage
    assert usage.prompt_tokens > 0 and usage.completion_tokens > 0
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def a_stream_says_the_same_text_and_its_usage(client, model):
    whole = ask(client, model)
    text, usage, reason = "", None, None
    for chunk in ask(client, model, stream=True, stream_options={"include_usage": True}):
        if chunk.choices:
            text += chunk.choices[0].delta.content or ""
            reason = chunk.choices[0].finish_reason or reason
        usage = chunk.usage or usage
    assert text == whole.choices[0].message.content, text
    assert reason == "stop"
    assert usage.completion_tokens == whole.usage.completion_tokens, usage


def the_ceiling_is_kept(client, model):
    answer = ask(client, model, max_tokens=5)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 5


def a_stop_string_ends_the_answer(client, model):
    text = ask(client, model, stop=['"invoice"']).choices[0].message.content
    assert "invoice" not in text and text, text


def the_same_seed_gives_the_same_text(client, model):
    def sampled():
        return client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": "what can you do?"}],
            temperature=1.0,
            seed=7,
        )

    assert sampled().choices[0].message.content == sampled().choices[0].message.content


def an_unknown_model_is_a_404(client, model):
    try:
        ask(client, "no-such-model")
    except openai.NotFoundError as error:
        assert error.code == "model_not_found", error.code
    else:
        raise AssertionError("accepted")


def an_oversized_prompt_is_a_400(client, model):
    try:
        client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "word " * 5000}]
        )
    except openai.BadRequestError as error:
        assert error.code == "context_length_exceeded", error.code
    else:
        raise AssertionError("accepted")


def absurd_sampling_is_a_400(client, model):
    try:
        client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "hi"}], temperature=1.5, top_p=7.0
        )
    except openai.BadRequestError:
        pass
    else:
        raise AssertionError("accepted")


CHECKS = [
    models_are_listed,
    an_answer_is_useful_and_counted,
    a_stream_says_the_same_text_and_its_usage,
    the_ceiling_is_kept,
    a_stop_string_ends_the_answer,
    the_same_seed_gives_the_same_text,
    an_unknown_model_is_a_404,
    an_oversized_prompt_is_a_400,
    absurd_sampling_is_a_400,
]


def main():
    client = openai.OpenAI(base_url=sys.argv[1], api_key="unused on loopback", max_retries=0)
    model = client.models.list().data[0].id
    failed = 0
    for check in CHECKS:
        name = check.__name__.replace("_", " ")
        try:
            check(client, model)
            print(f"ok    {name}")
        except Exception as error:
            failed += 1
            print(f"FAIL  {name}: {type(error).__name__}: {error}")
    print(f"{len(CHECKS) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
