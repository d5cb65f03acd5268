"""Which number a concluding sentence states as its result, as a table: question, text, what was read."""

import pytest

from potstill.rationales.answers import extract

WEEKS = "Jane has saved $4 a week for 8 weeks. How many more weeks will it take her to save a total of $60?"
CUPS = "The recipe calls for 7 cups and she put in 4. How many more cups of sugar does she need to add?"
PEN = "A book costs $4, a pen $1 less than a magazine. How much is the pen?"
PAINT = "Half the mural is yellow. It took 12 pints of paint. How many pints of red paint was used?"

STATED = [
    # a number that is only aimed at
    (WEEKS, "28 / 4 = 7. Therefore, it will take Jane 7 more weeks to save a total of $60.", "7"),
    (WEEKS, "It will take Jane 7 more weeks to have saved a total of $60.", "7"),
    (CUPS, "This means that she needs 3 more cups in order to have a total of 7 cups of sugar.", "3"),
    ("He earns $5 per hour. How many hours?", "If so, he will need to work 5 hours to earn $25.", None),
    ("He has 12 and 30.", "12 and 30 are put together to get 42.", "42"),
    ("He has 3 and wants five cookies.", "Therefore, Matt has to eat 6 carrot sticks to get 5 cookies in total.", "6"),
    ("A tip of 1/5?", "She should give a total of $18 to include a tip that is equal to 1/5 of the amount.", "$18"),
    # a difference
    ("How many more badges does Wendy earn?", "Wendy earns 36 badges, a difference of 30 badges.", "30"),
    ("How much does he save?", "18 flowers would cost $9, a savings of $6 from the first deal.", "$6"),
    ("How much more did Kelly pay than Becky?", "So, Kelly paid $9 - $8 = $1 more than Becky.", "$1"),
    ("How much did Kelly pay?", "So, Kelly paid $9 - $8 = $1 more than Becky.", None),
    # less: a premise before the result, or the result with a sign the question did not ask for
    (PEN, "The pen costs $3 less than the magazine, so the pen's price is $8 - $3 = $5.", "$5"),
    (PEN, "Since 8 - 3 = 5, the pen costs $5 less than the magazine.", None),
    (PEN, "The difference is 8 - 3 = 5, so the pen costs $5 less.", None),
    ("How much less is the pen?", "Since 8 - 3 = 5, the pen costs $5 less than the magazine.", "$5"),
    # an unfinished calculation, or a part of something
    ("How many pages?", "Therefore, the number of pages in the book is 1.5 * 100 * 2.", None),
    ("His weight was 70 pounds.", "Therefore, his initial weight is 70 pounds + 30 pounds.", None),
    ("She earns $15 and pays $3.", "So, her earnings per hour after expenses are ($45 - $9) / 18.", None),
    ("How much more will she have?", "The difference is the $105 missed, minus the accountant's charge of $90.", None),
    (PAINT, "The amount of red paint is 1/3 of 1/2 of the total, which is 1/6 of 12 pints, or 2 pints.", None),
    ("What is her pension?", "Therefore, her annual pension will be 50% of $50,000.", None),
    # a second result behind the first
    ("How much did one cost?", "This leaves $1300 - $700 = $600 for the two monitors, or $300 each.", None),
    ("How many per sleeve?", "This leaves 1800 - 1170 = 630 stitches for both, i.e. 315 stitches per sleeve.", None),
    ("He bought 3 peaches.", "He has $10 - $9.25 = $0.75, so with the remaining $0.75, he can buy 3 plums.", None),
    ("How many did they eat?", "There were a total of 32 slices, which is consistent with the 31 eaten.", None),
    # words of the question, sentences that point back
    ("What remains after three weeks?", "470 + 230 = 700. Therefore, the total after three weeks is 700.", "700"),
    ("What remains?", "470 + 230 = 700. Therefore, the total of both after three weeks is 700.", None),
    ("How many cupcakes?", "That equals 54 cupcakes. This ensures that each gets one vanilla cupcake.", "54"),
    # a negation of the question's own
    ("How many had not voted by 16:00?", "3000 - 2000 = 1000. So the number who had not voted is 1000.", "1000"),
    ("How many had voted?", "3000 - 2000 = 1000. So the number who had not voted is 1000.", None),
]  # fmt: skip


@pytest.mark.parametrize(("question", "text", "span"), STATED)
def test_a_concluding_sentence_is_read_only_where_it_states_one_result(question, text, span):
    """Two signs that disagree, or a step that is left to do, are no answer."""
    assert span == extract(text, "number", question=question)
