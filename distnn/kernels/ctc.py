"""Connectionist temporal classification: the loss of all alignments, and its gradient. Graves et al. 2006.

Letters: B samples, T steps, K classes, L labels of a sample at most, S = 2L + 1 places: the labels, a blank
before, between and behind them. Everything is in logarithms. Rows of `alpha` and `beta` (what has been said,
what is to be said) are shifted so that their largest place is 0: only differences within a step matter to
the gradient, so nothing is lost over long series; the shifts add up to the loss, in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from distnn.kernels.jit import Array, helper, kernel
from distnn.kernels.scalar_math import exp, log1p


@helper
def log_add(a: Any, b: Any, lowest: Any) -> Any:
    """log(e^a + e^b); `lowest` is minus infinity."""
    larger, smaller = (a, b) if a > b else (b, a)
    return larger if smaller == lowest else larger + log1p(exp(smaller - larger))


@helper
def _class_at(label_L: Array, place: int, blank: int) -> Any:
    """The class that stands at a place: a label at odd ones, else blank."""
    return label_L[place // 2] if place % 2 else blank


@helper
def _skips(label_L: Array, place: int) -> bool:
    """Whether a place can follow the one two before: a label behind another one."""
    return place % 2 == 1 and place > 1 and label_L[place // 2] != label_L[place // 2 - 1]


@helper
def _is_valid(label_L: Array, labels: int, steps: int, most_steps: int, classes: int) -> bool:
    if labels < 0 or labels > label_L.size or steps < 0 or steps > most_steps:
        return False
    for i in range(labels):
        if label_L[i] < 0 or label_L[i] >= classes:
            return False
    return True


@kernel
def ctc_forward(
    logp_BTK: Array,
    label_BL: Array,
    labels_B: Array,
    steps_B: Array,
    blank: int,
    loss_B: Array,
    alpha_BTS: Array,
) -> None:
    """The loss of each sample, and alpha.

    Infinity where the labels do not fit into the steps; NaN for a class or a length that cannot be.

    Args:
        labels_B, steps_B: how many of the L and the T count.
    """
    samples, most_steps, classes = logp_BTK.shape
    kind = logp_BTK.dtype.type
    lowest = kind(-np.inf)
    for b in range(samples):
        label, labels, steps = label_BL[b], labels_B[b], steps_B[b]
        if not _is_valid(label, labels, steps, most_steps, classes):
            loss_B[b] = kind(np.nan)
            continue
        places = 2 * labels + 1
        total = 0.0
        for t in range(steps):
            alpha = alpha_BTS[b, t]
            highest = lowest
            for s in range(places):
                if t == 0:
                    value = kind(0) if s < 2 else lowest
                else:
                    before = alpha_BTS[b, t - 1]
                    value = before[s]
                    if s > 0:
                        value = log_add(value, before[s - 1], lowest)
                    if _skips(label, s):
                        value = log_add(value, before[s - 2], lowest)
                value = value + logp_BTK[b, t, _class_at(label, s, blank)]
                alpha[s] = value
                highest = value if (value > highest or value != value) else highest
            total += np.float64(highest)
            if highest == lowest:
                break
            for s in range(places):
                alpha[s] = alpha[s] - highest
        if steps == 0:
            loss_B[b] = kind(0) if labels == 0 else -lowest
        elif total == -np.inf:
            loss_B[b] = -lowest
        else:
            last = alpha_BTS[b, steps - 1]
            end = last[places - 1]
            if places > 1:
                end = log_add(end, last[places - 2], lowest)
            loss_B[b] = kind(-(total + np.float64(end)))


@kernel
def ctc_backward(
    label_BL: Array,
    labels_B: Array,
    steps_B: Array,
    blank: int,
    logp_BTK: Array,
    alpha_BTS: Array,
    loss_B: Array,
    dloss_B: Array,
    beta_2S: Array,
    dlogp_BTK: Array,
) -> None:
    """dlogp: minus the share of the alignments that say a class at a step, times dloss.

    Zero at steps that do not count and where the loss is infinite; NaN where it is NaN.
    """
    samples, most_steps, classes = logp_BTK.shape
    kind = logp_BTK.dtype.type
    lowest = kind(-np.inf)
    for b in range(samples):
        label, labels, steps = label_BL[b], labels_B[b], steps_B[b]
        is_bad = loss_B[b] != loss_B[b]
        for t in range(most_steps):
            for k in range(classes):
                dlogp_BTK[b, t, k] = kind(np.nan) if is_bad else kind(0)
        if is_bad or loss_B[b] == -lowest:
            continue
        places = 2 * labels + 1
        for back in range(steps):
            t = steps - 1 - back
            beta, after = beta_2S[back % 2], beta_2S[(back + 1) % 2]
            highest, largest = lowest, lowest
            for s in range(places):
                if back == 0:
                    value = kind(0) if s >= places - 2 else lowest
                else:
                    value = after[s] + logp_BTK[b, t + 1, _class_at(label, s, blank)]
                    if s + 1 < places:
                        said = after[s + 1] + logp_BTK[b, t + 1, _class_at(label, s + 1, blank)]
                        value = log_add(value, said, lowest)
                    if s + 2 < places and _skips(label, s + 2):
                        said = after[s + 2] + logp_BTK[b, t + 1, _class_at(label, s + 2, blank)]
                        value = log_add(value, said, lowest)
                beta[s] = value
                highest = value if value > highest else highest
            for s in range(places):
                beta[s] = beta[s] - highest
                both = alpha_BTS[b, t, s] + beta[s]
                largest = both if both > largest else largest
            total = kind(0)
            for s in range(places):
                total += exp(alpha_BTS[b, t, s] + beta[s] - largest)
            scale = dloss_B[b] / total
            for s in range(places):
                share = exp(alpha_BTS[b, t, s] + beta[s] - largest)
                dlogp_BTK[b, t, _class_at(label, s, blank)] -= share * scale


# Decoding


@kernel
def ctc_greedy(
    x_BTK: Array, steps_B: Array, merges: bool, blank: int, path_BT: Array, score_B: Array
) -> None:
    """The largest class of each step, repeats (if `merges`) and blanks left out; -1 fills the path.

    score: minus the sum of the largest values.
    """
    samples, most_steps, classes = x_BTK.shape
    for b in range(samples):
        total, count, before = 0.0, 0, -1
        for t in range(min(steps_B[b], most_steps)):
            best = 0
            for k in range(1, classes):
                best = k if x_BTK[b, t, k] > x_BTK[b, t, best] else best
            total += np.float64(x_BTK[b, t, best])
            if best != blank and not (merges and best == before):
                path_BT[b, count] = best
                count += 1
            before = best
        for t in range(count, most_steps):
            path_BT[b, t] = -1
        score_B[b] = x_BTK.dtype.type(-total)


PARENT, LABEL, FIRST_CHILD, SIBLING, BEAM = 0, 1, 2, 3, 4
"""Rows of the tree of series: of each its parent, last label, first child and next sibling, and its place
among the kept ones; -1 for none."""


@helper
def _offer(score: Any, beam: int, label: int, scores_W: Array, choice_2W: Array, count: int) -> int:
    """Put an offer into its place among the best, which are sorted; the first of equals stays before."""
    width = scores_W.size
    if count == width and not score > scores_W[width - 1]:
        return count
    place = count if count < width else width - 1
    while place > 0 and score > scores_W[place - 1]:
        scores_W[place] = scores_W[place - 1]
        choice_2W[0, place] = choice_2W[0, place - 1]
        choice_2W[1, place] = choice_2W[1, place - 1]
        place -= 1
    scores_W[place] = score
    choice_2W[0, place], choice_2W[1, place] = beam, label
    return min(count + 1, width)


@helper
def _child(tree_5N: Array, node: int, label: int) -> Any:
    """The node of a path one label longer, or -1."""
    child = tree_5N[FIRST_CHILD, node]
    while child >= 0 and tree_5N[LABEL, child] != label:
        child = tree_5N[SIBLING, child]
    return child


@helper
def _new_child(tree_5N: Array, node: int, label: int, child: int) -> None:
    """Let `child`, a node not used before, be that node."""
    tree_5N[PARENT, child], tree_5N[LABEL, child] = node, label
    tree_5N[FIRST_CHILD, child], tree_5N[SIBLING, child] = -1, tree_5N[FIRST_CHILD, node]
    tree_5N[FIRST_CHILD, node] = child
    tree_5N[BEAM, child] = -1


@helper
def _grown(ends_4W: Array, now: int, beam: int, repeats: bool, lowest: Any) -> Any:
    """Log-probability of the ends of a series behind which a label begins; the same one needs a blank."""
    in_blank = ends_4W[now + 1, beam]
    return in_blank if repeats else log_add(ends_4W[now, beam], in_blank, lowest)


@helper
def _offer_all(
    logp_K: Array,
    blank: int,
    beams: int,
    tree_5N: Array,
    node_2W: Array,
    ends_4W: Array,
    now: int,
    scores_W: Array,
    choice_2W: Array,
) -> int:
    """Offer what becomes of every kept series; its own new ends stand in the other rows of `ends`."""
    lowest = ends_4W.dtype.type(-np.inf)
    later, count = 2 - now, 0
    for j in range(beams):
        node = node_2W[0, j]
        last = tree_5N[LABEL, node]
        in_blank = log_add(ends_4W[now, j], ends_4W[now + 1, j], lowest) + logp_K[blank]
        in_label = lowest
        if last >= 0:
            # its last label goes on, or it is what its parent becomes
            in_label = ends_4W[now, j]
            parent = tree_5N[PARENT, node]
            i = tree_5N[BEAM, parent]
            if i >= 0:
                grown = _grown(ends_4W, now, i, tree_5N[LABEL, parent] == last, lowest)
                in_label = log_add(in_label, grown, lowest)
            in_label = in_label + logp_K[last]
        ends_4W[later, j], ends_4W[later + 1, j] = in_label, in_blank
        count = _offer(log_add(in_label, in_blank, lowest), j, -1, scores_W, choice_2W, count)
        for k in range(logp_K.size):
            if k != blank:
                score = _grown(ends_4W, now, j, k == last, lowest) + logp_K[k]
                child = _child(tree_5N, node, k)
                if score > lowest and (child < 0 or tree_5N[BEAM, child] < 0):
                    count = _offer(score, j, k, scores_W, choice_2W, count)
    return count


@helper
def _write_path(tree_5N: Array, node: int, path_T: Array) -> None:
    length, at = 0, node
    while at > 0:
        length += 1
        at = tree_5N[PARENT, at]
    at = node
    while at > 0:
        length -= 1
        path_T[length] = tree_5N[LABEL, at]
        at = tree_5N[PARENT, at]


@kernel
def ctc_beam_search(
    logp_BTK: Array,
    steps_B: Array,
    blank: int,
    tree_5N: Array,
    node_2W: Array,
    ends_4W: Array,
    scores_W: Array,
    choice_2W: Array,
    path_BPT: Array,
    score_BP: Array,
) -> None:
    """The P likeliest series of labels, of W kept at each step, and their log-probabilities.

    A series is a node of a tree. `ends` has the log-probabilities that a kept series ends in its last label
    and in a blank; two rows each, in turn.

    Args:
        tree_5N: scratch, a column for each series met; its rows are named above.
        node_2W, ends_4W, scores_W, choice_2W: scratch; `node` has the series kept, and those before.
    """
    samples, most_steps, _ = logp_BTK.shape
    kind = logp_BTK.dtype.type
    lowest = kind(-np.inf)
    for b in range(samples):
        tree_5N[:, 0] = -1
        tree_5N[BEAM, 0], node_2W[0, 0] = 0, 0
        nodes, beams, now = 1, 1, 0
        ends_4W[0, 0], ends_4W[1, 0] = lowest, kind(0)
        for t in range(min(steps_B[b], most_steps)):
            count = _offer_all(
                logp_BTK[b, t], blank, beams, tree_5N, node_2W, ends_4W, now, scores_W, choice_2W
            )
            later = 2 - now
            for j in range(beams):
                tree_5N[BEAM, node_2W[0, j]] = -1
                node_2W[1, j] = node_2W[0, j]
                ends_4W[now, j], ends_4W[now + 1, j] = ends_4W[later, j], ends_4W[later + 1, j]
            for w in range(count):
                j, label = choice_2W[0, w], choice_2W[1, w]
                node = node_2W[1, j]
                if label < 0:
                    ends_4W[later, w], ends_4W[later + 1, w] = ends_4W[now, j], ends_4W[now + 1, j]
                else:
                    child = _child(tree_5N, node, label)
                    if child < 0:
                        child = nodes
                        nodes += 1
                        _new_child(tree_5N, node, label, child)
                    node = child
                    ends_4W[later, w], ends_4W[later + 1, w] = scores_W[w], lowest
                node_2W[0, w] = node
                tree_5N[BEAM, node] = w
            beams, now = count, later
        for p in range(path_BPT.shape[1]):
            path_BPT[b, p, :] = -1
            score_BP[b, p] = lowest
            if p < beams:
                score_BP[b, p] = log_add(ends_4W[now, p], ends_4W[now + 1, p], lowest)
                _write_path(tree_5N, node_2W[0, p], path_BPT[b, p])
