"""What is said of tokens that are no finite numbers, and how the sides that they are on are called."""

from __future__ import annotations

PRE, POST = "pre (the connector's input)", "post (the connector's output)"
PRE_NORMED, UNTRAINED = "the connector's leading norm", "an untrained copy's output"


def not_finite(image: str, side: str, dtype: object) -> str:
    """Why an image's tokens are not measured, and what to look at.

    Args:
        image: its name, of which twelve letters are shown.
        side: one of those above.
        dtype: torch's, of the tokens as the model gave them. Half precision alone is one that overflows in practice.
    """
    precision = str(dtype).removeprefix("torch.")
    why = (
        "half precision may have overflowed: load the model in float32 or bfloat16"
        if precision == "float16"
        else f"{precision} hardly overflows: look at the model's weights, and at this picture"
    )
    return f"features of image {image[:12]} at {side} hold NaN or infinity; {why}"
