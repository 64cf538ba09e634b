"""Laws of the noise table: what is read is logistic noise, another for each epoch and shard."""

import numpy as np
import pytest
import torch

from l0.survey.gate_noise import NoiseTable
from l0.survey.shards import Shards

SHARDS = Shards((0, 1_000, 2_000, 3_000, 4_000), torch.device("cpu"))
# the logistic distribution's standard deviation
SPREAD = np.pi / np.sqrt(3)


def test_noise_is_logistic():
    noise = NoiseTable(SHARDS, seed=0).read(1_000, epoch=3, shard=1).double()
    assert float(noise.mean()) == pytest.approx(0.0, abs=4 * SPREAD / np.sqrt(1_000))
    assert float(noise.std()) == pytest.approx(SPREAD, rel=0.1)
    # the share below a point is the logistic function of it
    for point in (-2.0, 0.0, 1.0):
        share = 1 / (1 + np.exp(-point))
        error = np.sqrt(share * (1 - share) / 1_000)
        assert float((noise < point).double().mean()) == pytest.approx(share, abs=4 * error)


def test_epochs_shards_and_seeds_are_independent_and_the_same_again():
    def read(seed: int, epoch: int, shard: int) -> torch.Tensor:
        return NoiseTable(SHARDS, seed=seed).read(1_000, epoch=epoch, shard=shard)

    first = read(0, 0, 0)
    assert torch.equal(first, read(0, 0, 0))
    for other in (read(1, 0, 0), read(0, 1, 0), read(0, 0, 1)):
        together = torch.stack([first, other]).double()
        assert abs(float(torch.corrcoef(together)[0, 1])) < 4 / np.sqrt(1_000)


def test_no_two_records_share_a_draw_within_an_epoch():
    table = NoiseTable(SHARDS, seed=0)
    for epoch in range(50):
        windows = [table.read(1_000, epoch=epoch, shard=shard) for shard in range(4)]
        starts = [window.storage_offset() for window in windows]
        assert np.diff(starts).tolist() == [1_000] * 3


def test_one_record_gets_independent_noise_at_every_epoch():
    table = NoiseTable(SHARDS, seed=0)
    course = torch.stack([table.read(100, epoch=epoch, shard=0) for epoch in range(400)]).double()
    one, after, neighbour = course[:-1, 7], course[1:, 7], course[1:, 8]
    for other in (after, neighbour):
        assert abs(float(torch.corrcoef(torch.stack([one, other]))[0, 1])) < 4 / np.sqrt(399)


@pytest.mark.parametrize("longest", [10, 3_000_000])
def test_the_table_is_longer_than_all_records(longest):
    shards = Shards((0, longest // 2, longest, longest, longest), torch.device("cpu"))
    table = NoiseTable(shards, seed=0)
    size = longest - longest // 2
    reads = [table.read(size, epoch=epoch, shard=1) for epoch in range(5)]
    assert len({read.data_ptr() for read in reads}) == 5
    assert {len(read) for read in reads} == {size}
