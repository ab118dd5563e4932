"""Mixup and CutMix: batches in which every image is a mixture of two."""

from tf_slim_compat import tf


def mix(
    images: tf.Tensor,
    targets: tf.Tensor,
    *,
    mixup_alpha: float = 0.0,
    cutmix_alpha: float = 0.0,
    seed: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Mixes every image of a batch, and its target, with the preceding image.

    Mixup (Zhang et al. 2018, arXiv:1710.09412) takes a weighted mean of the two; CutMix
    (Yun et al. 2019, arXiv:1905.04899) pastes a box of the other image and weighs the
    targets by the visible areas. The weight is sampled from Beta(alpha, alpha), once
    per batch. With both, one of the two is chosen per batch with equal probability.

    Args:
      images: float32 [batch, height, width, channels]; for mixup alone any shape
        [batch, ...], such as videos.
      targets: float32 [batch, num_outputs].
      mixup_alpha: 0 for no mixup; usually 0.2.
      cutmix_alpha: 0 for no CutMix; usually 1.0.
      seed: int64 [2], of which everything random is a function.

    Returns:
      `(images, targets)` with the given shapes and dtypes.

    Raises:
      ValueError: if an alpha is negative, CutMix gets anything but images, or images or
        targets are not floating point.
    """
    for name, alpha in (("mixup_alpha", mixup_alpha), ("cutmix_alpha", cutmix_alpha)):
        if not 0 <= alpha < float("inf"):
            raise ValueError(f"{name} must be 0 or more, but is {alpha}.")
    if cutmix_alpha and images.shape.rank != 4:
        raise ValueError(
            "CutMix takes images of shape [batch, height, width, channels], but they "
            f"have the shape {images.shape}: use mixup_alpha instead."
        )
    if not (images.dtype.is_floating and targets.dtype.is_floating):
        raise ValueError(
            "Images and targets must be floating point to be mixed, but are "
            f"{images.dtype.name} and {targets.dtype.name}: mix after preprocessing, "
            "and make targets with tf.one_hot."
        )
    if not (mixup_alpha or cutmix_alpha):
        return images, targets
    with tf.name_scope("mix"):
        seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 5))
        kept = (images, targets)

        def mixup():
            return _mixup(*kept, _build_beta(mixup_alpha, seeds[:2]))

        def cutmix():
            return _cutmix(*kept, _build_beta(cutmix_alpha, seeds[:2]), seeds[2:4])

        if not cutmix_alpha:
            mixed = mixup()
        elif not mixup_alpha:
            mixed = cutmix()
        else:
            is_mixup = tf.random.stateless_uniform([], seeds[4]) < 0.5
            mixed = tf.cond(is_mixup, mixup, cutmix)
        for tensor, like in zip(mixed, kept, strict=True):
            tensor.set_shape(like.shape)
        return tuple(mixed)


def _build_beta(alpha, seeds):
    """Samples from Beta(alpha, alpha): a float64 scalar from 0 to 1."""
    # x / (x + y) of two samples from Gamma(alpha). For a small alpha these underflow:
    # their logarithms are computed from Gamma(alpha + 1) instead.
    gammas = tf.random.stateless_gamma(
        [2], seeds[0], alpha=alpha + 1.0, dtype=tf.float64
    )
    uniforms = tf.random.stateless_uniform([2], seeds[1], dtype=tf.float64)
    logs = tf.log(gammas) + tf.log1p(-uniforms) / alpha
    return tf.sigmoid(logs[0] - logs[1])


def _mixup(images, targets, kept_share):
    return tuple(
        _blend(batch, tf.roll(batch, 1, axis=0), kept_share)
        for batch in (images, targets)
    )


def _cutmix(images, targets, kept_share, seeds):
    height, width = tf.shape(images)[1], tf.shape(images)[2]
    side = tf.sqrt(1 - kept_share)
    top, box_height = _build_span(height, side, seeds[0])
    left, box_width = _build_span(width, side, seeds[1])
    box = tf.roll(images[:, top : top + box_height, left : left + box_width], 1, axis=0)
    # Copies the batch once and the box once; a mask would need several copies.
    mixed = tf.raw_ops.TensorStridedSliceUpdate(
        input=images,
        begin=tf.stack([0, top, left]),
        end=tf.stack([0, top + box_height, left + box_width]),
        strides=[1, 1, 1],
        value=box,
        begin_mask=1,
        end_mask=1,
    )
    pasted = tf.cast(box_height * box_width, tf.float64)
    kept_share = 1 - pasted / tf.cast(height * width, tf.float64)
    return mixed, _blend(targets, tf.roll(targets, 1, axis=0), kept_share)


def _build_span(size_px, share, seed):
    """Returns begin and length of a side of the box, clipped at the borders."""
    length = tf.cast(tf.cast(size_px, tf.float64) * share, tf.int32)
    center = tf.random.stateless_uniform([], seed, 0, size_px, tf.int32)
    begin = tf.maximum(center - length // 2, 0)
    end = tf.minimum(center - length // 2 + length, size_px)
    return begin, end - begin


def _blend(first, second, first_share):
    share = tf.cast(first_share, first.dtype)
    return share * first + (1 - share) * second
