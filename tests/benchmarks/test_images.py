"""Tasks made of images: as many pixels as asked for, the same ones for everybody, nothing leaked."""

import numpy as np
import pytest
import torch

from geonp.benchmarks.images import Images, ImageTasks, as_task, random_contexts
from geonp.benchmarks.images import test_tasks as tasks_to_test
from geonp.errors import InputError
from geonp.scaling import Standardise


def test_contexts_have_exactly_as_many_pixels_each_anywhere() -> None:
    seen = random_contexts(np.random.default_rng(0), 400, (8, 6), 12)
    assert (seen.sum((1, 2)) == 12).all()
    # Every pixel is as likely as any other: 100 +- 4 deviations of a binomial (400, 1/4).
    assert abs(seen.sum(0) - 100).max() < 4 * np.sqrt(400 * 0.25 * 0.75)


def test_batches_are_a_function_of_seed_and_step(images: Images) -> None:
    one, same = (ImageTasks(images, 3, (0.3, 0.6), seed=1, validated=4) for _ in range(2))
    other = ImageTasks(images, 3, (0.3, 0.6), seed=2, validated=4)
    assert torch.equal(one.batch(5).values, same.batch(5).values)
    assert torch.equal(one.batch(5).context, same.batch(5).context)
    assert not torch.equal(one.batch(5).context, one.batch(6).context)
    assert not torch.equal(one.batch(5).context, other.batch(5).context)


def test_every_image_of_a_batch_shows_as_many_pixels_within_the_range(images: Images) -> None:
    tasks = ImageTasks(images, 4, (0.3, 0.6), seed=0, validated=4)
    fractions = []
    for step in range(30):
        shares = tasks.batch(step).context.mean((1, 2, 3))
        assert torch.equal(shares, shares[:1].expand(4))
        fractions.append(float(shares[0]))
    assert min(fractions) >= 0.299
    assert max(fractions) <= 0.601
    assert max(fractions) - min(fractions) > 0.2


def test_validation_is_kept_from_training_and_the_same_for_every_seed(images: Images) -> None:
    marked = images.train.copy()
    marked[-4:] = 255
    own = Images.of_bytes("marked", marked, images.test)
    tasks = ImageTasks(own, 8, (0.3, 0.6), seed=0, validated=4)
    assert all((tasks.batch(step).values < 1).any((1, 2, 3)).all() for step in range(20))
    (validation,) = tasks.validation()
    assert (validation.values == 1).all()
    (other,) = ImageTasks(own, 8, (0.3, 0.6), seed=9, validated=4).validation()
    assert torch.equal(validation.context, other.context)


def test_test_tasks_are_the_same_for_every_model(images: Images) -> None:
    (first, scale), (second, _) = (next(iter(tasks_to_test(images, 5, 0.2))) for _ in range(2))
    assert torch.equal(first.context, second.context)
    assert first.values.shape == (5, 1, 32, 32)
    assert (first.context.sum((1, 2, 3)) == 205).all()
    np.testing.assert_allclose(scale.invert_mean(first.values).numpy(), images.test[:5], atol=1e-4)


def test_an_absurd_scale_makes_no_targets() -> None:
    values = np.zeros((1, 1, 4, 4), np.float32)
    values[0, 0, 0, :3] = 1, 2, 1000
    seen = np.zeros((1, 4, 4), bool)
    seen[0, 0, :2] = True
    task, _ = as_task(values, seen, Standardise())
    assert float(task.target[0, 0, 0, 2]) == 0
    assert float(task.target.sum()) == 15


def test_padding_puts_images_in_the_middle(images: Images) -> None:
    padded = images.padded(36)
    assert padded.shape == (36, 36)
    np.testing.assert_array_equal(padded.test[:, :, 2:34, 2:34], images.test)
    assert padded.test[:, :, :2].max() == 0


def test_sets_that_do_not_fit() -> None:
    with pytest.raises(InputError, match="of one size"):
        Images.of_bytes("x", np.zeros((2, 1, 8, 8), np.uint8), np.zeros((2, 1, 9, 9), np.uint8))
    few = Images.of_bytes("x", np.zeros((2, 1, 8, 8), np.uint8), np.zeros((2, 1, 8, 8), np.uint8))
    with pytest.raises(InputError, match="none would be left"):
        ImageTasks(few, 1, (0.1, 0.2), 0, 2)
