"""What has been seen: the nearest text, exactly."""

from hypothesis import given, settings
from hypothesis import strategies as st

from potstill.generators.archives import Seen
from potstill.generators.gates import trigrams

TEXTS = st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=7).map(" ".join), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.lists(st.sampled_from("abcd"), min_size=1, max_size=7).map(" ".join))
def test_the_nearest_is_what_a_comparison_with_every_text_finds(texts, text):
    """The index misses nothing; of equally near ones the first seen."""
    own = trigrams(text)
    shares = [len(own & trigrams(other)) / len(own | trigrams(other)) for other in texts]
    share, at = Seen(texts).nearest(text)
    assert share == max(shares)
    assert at == (shares.index(share) if share else None)


def test_nothing_is_near_to_nothing():
    """An empty archive."""
    assert Seen().nearest("a b c") == (0.0, None)
