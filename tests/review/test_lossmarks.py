"""Which tokens of a training example carry loss."""

import re

from tokenizers import Tokenizer, models, pre_tokenizers

from potstill.review.lossmarks import example_body

EXAMPLE = {"prompt": "Q: 3 <b>?", "target": " Think. 3 and 4", "meta": {"prefix": " Think."}}


def write_tokenizer(folder):
    """Write a tokenizer that cuts at white space and punctuation."""
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    path = folder / "students" / "scotd" / "tokenizer.json"
    path.parent.mkdir(parents=True)
    tokenizer.save(str(path))


def test_with_the_students_tokenizer_each_token_is_marked(tmp_path):
    """Joined they are the target; the forced beginning is underlined; the stop token is counted."""
    write_tokenizer(tmp_path)
    shown = example_body(tmp_path, "scotd", EXAMPLE, 1000)
    tokens = re.findall(r'<mark class="token">(.*?)</mark>', shown)
    assert tokens == ["<u> Think</u>", "<u>.</u>", " 3", " and", " 4"]
    assert "6 tokens with the stop token" in shown
    assert "Q: 3 &lt;b&gt;?" in shown


def test_without_it_the_target_is_marked_as_a_whole(tmp_path):
    """No number of tokens is made up; a tokenizer that cannot be read is as good as none."""
    shown = example_body(tmp_path, "scotd", EXAMPLE, 1000)
    assert "<mark><u> Think.</u> 3 and 4</mark>" in shown
    assert "tokens with" not in shown
    path = tmp_path / "students" / "other" / "tokenizer.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    assert "tokens with" not in example_body(tmp_path, "other", EXAMPLE, 1000)
