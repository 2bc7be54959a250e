"""What the three experiments of the live page say of all test films: sentences that their own numbers choose."""

CLEAR = 0.03  # a smaller difference between two AUROCs is called none


def compared(a: float, b: float, more: str, less: str, same: str) -> str:
    """Which of three sentences the numbers bear out, for a against b."""
    return same if abs(a - b) < CLEAR else more if a > b else less


def listing(parts: list[tuple[str, float]]) -> str:
    """``hernia 0.90, mass 0.81``."""
    return ", ".join(f"{name} {auroc:.2f}" for name, auroc in parts)


def abscess(films: str, by_finding: dict[str, float], own: float, leans: list[tuple[str, float]]) -> str:
    """The signs of an abscess, asked of films with each finding.

    Parameters
    ----------
    films : what the test films are, with their number.
    by_finding : name -> AUROC of these signs for the films with that finding; it holds ``Hernia``.
    own : AUROC of the hernia's own signs.
    leans : the nearest seen findings in the joint space, (name, cosine).
    """
    best = sorted(by_finding.items(), key=lambda item: -item[1])[:3]
    found = by_finding["Hernia"]
    text = f"Among {films}, the signs of an abscess rank those with a hernia at AUROC {found:.2f}, the hernia’s own "
    text += f"signs at {own:.2f}. Of all findings they rank highest: {listing(best)}; in the joint space they lie "
    text += f"nearest to {' and '.join(f'{name} (cosine {cosine:.2f})' for name, cosine in leans)}. "
    return text + compared(
        found, 0.5,
        "None of these films shows an abscess: the words borrow what films with other findings taught. A high score "
        "for words of your own does not show that the network knows the disease.",
        "The words put hernias below other films: signs that are shared do not carry over here.",
        "For hernias that is no better than guessing: signs that are shared do not carry over here.",
    )  # fmt: skip


def swap(films: str, seen: dict[str, float], unseen: dict[str, float]) -> str:
    """Mean AUROC of seen and unseen findings, told signs, descriptions and shuffled signs."""

    def three(auroc):
        told = {"signs": "signs", "description": "descriptions", "shuffled": "shuffled signs"}
        return ", ".join(f"{auroc[key]:.2f} told {words}" for key, words in told.items())

    text = f"Mean AUROC over {films}: of seen findings {three(seen)}; of unseen findings {three(unseen)}. "
    text += compared(seen["signs"], seen["shuffled"], "Swapping the words costs the seen findings something, too. ",
                     "Swapping the words even helps the seen findings. ",
                     "Labels teach the seen findings, whatever words they are given. ")  # fmt: skip
    return text + compared(
        unseen["signs"], unseen["shuffled"],
        "The unseen findings lose when the words are swapped: what the network knows of them came from words.",
        "The unseen findings gain when the words are swapped: the right words carry nothing here.",
        "The unseen findings hardly change when the words are swapped: the words carry little here.",
    )  # fmt: skip


def untaught(films: str, name: str, steps: list[list[str]], reached: list[float]) -> str:
    """AUROC of a growing list of signs; the first step holds the taught ones, the last all of them."""
    plain = [" + ".join(sign.replace("_", " ") for sign in step) for step in steps]
    listed = "; ".join(f"{p} {a:.2f}" for p, a in zip(plain, reached, strict=True))
    text = f"Among {films}, AUROC for {name}: {listed}. "
    text += compared(reached[-1], reached[0], "The signs that nobody taught help here. ",
                     "The signs that nobody taught make it worse. ",
                     "The signs that nobody taught change little. ")  # fmt: skip
    return text + compared(
        reached[-1], 0.5, "The whole list does better than guessing (0.50).",
        "The whole list does worse than guessing (0.50): where no film has fixed a place in the joint space, it may be "
        "any place.", "The whole list does no better than guessing (0.50).",
    )  # fmt: skip
