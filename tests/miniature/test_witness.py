"""The books."""

import io
import json

from potstill.miniature.witness import Witness


def ticket_of(witness, key):
    ticket = witness.open()
    ticket.key, ticket.prompt = key, "p"
    witness.identify(ticket)
    return ticket


def test_in_flight_and_its_maximum_follow_the_tickets():
    """Two at once, then one after the other."""
    witness = Witness()
    first, second = ticket_of(witness, "a"), ticket_of(witness, "b")
    witness.close(first, 200)
    witness.close(second, 200)
    witness.close(ticket_of(witness, "c"), 429)
    stats = witness.stats()
    assert (stats["in_flight"], stats["max_in_flight"], stats["requests"]) == (0, 2, 3)
    assert stats["statuses"] == {"200": 2, "429": 1}


def test_identify_counts_the_attempts_of_a_body():
    """The number of earlier attempts seeds the fault draw."""
    witness = Witness()
    assert [witness.identify(ticket) for ticket in [ticket_of(witness, "a")] * 2] == [1, 2]


def test_a_reset_keeps_only_what_is_in_flight():
    """An answer that is still on its way closes its ticket in the new books."""
    witness = Witness(log=io.StringIO())
    ticket = ticket_of(witness, "a")
    witness.close(ticket_of(witness, "b"), 200)
    witness.reset()
    assert (witness.stats()["requests"], witness.stats()["in_flight"]) == (0, 1)
    witness.bill(ticket, 1, 10)
    witness.close(ticket, 200)
    rows = [json.loads(line) for line in witness.log.getvalue().splitlines()]
    assert [(row["key"], row["billed"], row["tokens"]) for row in rows] == [("a", 1, 10)]
    assert witness.stats()["in_flight"] == 0
