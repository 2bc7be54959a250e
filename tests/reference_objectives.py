"""Naive references of the baselines: loops over images, findings and pairs on plain floats; nothing of the package."""

import math


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def cosine(a, b):
    return dot(a, b) / math.sqrt(dot(a, a) * dot(b, b))


def squared_distance(a, b):
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


def split(targets):
    """The positive and the negative findings of one image."""
    present = [c for c, target in enumerate(targets) if target]
    return present, [c for c in range(len(targets)) if c not in present]


def focused(visual, semantic, labels, gamma, alpha, tau, on_distance=False, balanced=False, margin=1.0):
    total = {"positive": 0.0, "negative": 0.0}
    for v, targets in zip(visual, labels, strict=True):
        present, absent = split(targets)
        for c, s in enumerate(semantic):
            d2 = squared_distance(v, s)
            p = math.exp(-d2 / tau)
            if c in present:
                kind, share = "positive", len(present)
                cost = alpha * (1 - p) ** gamma * (d2 if on_distance else d2 / tau)
            else:
                kind, share = "negative", len(absent)
                hinge = max(0.0, margin - math.sqrt(d2)) ** 2
                cost = (1 - alpha) * p**gamma * (hinge if on_distance else -math.log(1 - p))
            total[kind] += cost / (share if balanced else 1) / len(visual)
    return {"total": total["positive"] + total["negative"], **total}


def ranking(visual, semantic, labels, vectors, margin, weight_alignment, weight_consistency):
    hinge_sum = away_sum = images_with_positive = 0.0
    for v, targets in zip(visual, labels, strict=True):
        present, absent = split(targets)
        for p in present:
            for n in absent:
                hinge_sum += max(0.0, margin - cosine(v, semantic[p]) + cosine(v, semantic[n]))
        if present:
            centre = [sum(semantic[p][k] for p in present) / len(present) for k in range(len(v))]
            away_sum += 1 - cosine(v, centre)
            images_with_positive += 1
    bent = [
        abs(cosine(semantic[a], semantic[b]) - cosine(vectors[a], vectors[b]))
        for a in range(len(semantic))
        for b in range(len(semantic))
    ]
    terms = {
        "ranking": hinge_sum / len(visual),
        "alignment": weight_alignment * away_sum / max(images_with_positive, 1),
        "consistency": weight_consistency * sum(bent) / len(bent),
    }
    return {"total": sum(terms.values()), **terms}


def label_embedding(visual, semantic, labels, margin):
    total = 0.0
    for v, targets in zip(visual, labels, strict=True):
        present, absent = split(targets)
        for p in present:
            hinges = [margin - dot(v, semantic[p]) + dot(v, semantic[n]) for n in absent]
            violations = [hinge for hinge in hinges if hinge > 0]
            if violations:
                beta = sum(1 / j for j in range(1, len(violations) + 1))
                total += beta / len(violations) * sum(violations)
    return {"total": total / len(visual)}


def cross_entropy(visual, semantic, labels, scale, bias):
    total = {"positive": 0.0, "negative": 0.0}
    for v, targets in zip(visual, labels, strict=True):
        for s, target in zip(semantic, targets, strict=True):
            yes = 1 / (1 + math.exp(-(scale * dot(v, s) + bias)))
            total["positive" if target else "negative"] -= math.log(yes if target else 1 - yes) / len(visual)
    return {"total": total["positive"] + total["negative"], **total}


def nearest_seen(scores, vectors, seen):
    """Rows of scores in which each unseen finding copies its most similar seen one."""
    copied = []
    for row in scores:
        new = list(row)
        for c in range(len(row)):
            if c not in seen:
                best = seen[0]
                for s in seen[1:]:
                    if cosine(vectors[c], vectors[s]) > cosine(vectors[c], vectors[best]):
                        best = s
                new[c] = row[best]
        copied.append(new)
    return copied


def source_only(sources, labels, train, rows, smoothing):
    """``sources``: one hashable per image."""
    scores = []
    for row in rows:
        same = [i for i in train if sources[i] == sources[row]]
        line = []
        for c in range(len(labels[0])):
            prevalence = sum(labels[i][c] for i in train) / len(train)
            line.append((sum(labels[i][c] for i in same) + smoothing * prevalence) / (len(same) + smoothing))
        scores.append(line)
    return scores
