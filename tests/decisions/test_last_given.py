"""What is left of the last queue's gift, worked by hand."""

from decisions.last_given import last_given
from tests.decisions.open_lines import open_lines


def test_the_last_queue_gives_what_has_not_left_since_to_lines_of_the_same_pool():
    then = open_lines(5, open_quantity=6.0, ship_now_quantity=[4.0, 4.0, 4.0, 0.0, 4.0])
    now = open_lines(6, open_quantity=[6.0, 3.0, 1.0, 6.0, 6.0, 6.0], warehouse_id=[*"wwwwxw"])
    found = last_given(now.iloc[::-1], then).sort_index()
    assert found.fillna(-1).tolist() == [4, 1, 0, 0, 0, -1]
    assert last_given(now, None).isna().all()
