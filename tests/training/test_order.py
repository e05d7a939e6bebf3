"""The order of training items."""

from raypeft.training.order import LengthGroupedOrder

LENGTHS = [((index * 37) % 50) + 5 for index in range(400)]


def test_each_epoch_is_another_permutation_and_can_be_repeated() -> None:
    order = LengthGroupedOrder(LENGTHS, batch=8, seed=42)
    first = list(order)
    order.set_epoch(1)
    second = list(order)
    assert sorted(first) == sorted(second) == list(range(400))
    assert first != second
    again = LengthGroupedOrder(LENGTHS, batch=8, seed=42)
    again.set_epoch(1)
    assert list(again) == second
    assert list(LengthGroupedOrder(LENGTHS, batch=8, seed=43)) != first


def test_batches_hold_items_of_like_length() -> None:
    def padding(order: list[int]) -> int:
        batches = [[LENGTHS[index] for index in order[start : start + 8]] for start in range(0, len(order), 8)]
        return sum(max(batch) * len(batch) - sum(batch) for batch in batches)

    grouped = padding(list(LengthGroupedOrder(LENGTHS, batch=8, seed=42)))
    assert grouped < padding(list(range(400))) / 4
