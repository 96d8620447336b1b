"""What the table and the instruction counts say of given figures."""
import unittest

import instructions
import rows


def sample(through, count=1, cell="chat", **figures):
    return {"round": count, "cell": cell, "through": through} | figures


def lines(*samples):
    return rows.table(list(samples))


class Table(unittest.TestCase):
    def test_ratio_is_the_median_of_the_rounds_own_ratios(self):
        chats = []
        for count, (ours, theirs) in enumerate([(20, 10), (30, 30), (12, 10)]):
            for through, cpu in (("tollgate", ours), ("nginx", theirs)):
                chats.append(sample(through, count, cpu_us=cpu, requests=100, seconds=1))
        found = lines(*chats)[1][0]
        self.assertEqual(found["of_rounds"], [2, 1, 1.2])
        self.assertEqual(found["judged"], 1.2)
        self.assertTrue(found["met"])

    def test_says_by_how_much_a_goal_is_not_met(self):
        text, found = lines(sample("tollgate", cpu_us=15, requests=50, seconds=1), sample("nginx", cpu_us=10, requests=100, seconds=1))
        self.assertIn("1.50 × nginx | not met by 0.25 (20%) |", text[2])
        self.assertIn("0.50 × nginx | not met by 0.28 (36%) |", text[3])
        self.assertEqual([one["met"] for one in found], [False, False])

    def test_what_is_added_is_held_against_what_nginx_adds(self):
        times = {"direct": 10_000, "nginx": 20_000, "tollgate": 25_000}
        found = lines(*(sample(through, cell="large", p50_us=value) for through, value in times.items()))[1][0]
        self.assertEqual(found["judged"], 1.5)

    def test_a_row_of_the_gateway_with_busy_polling_is_judged_by_its_own_samples(self):
        times = {"direct": 20, "nginx": 100, "tollgate": 120, "awake": 90}
        without, awake = lines(*(sample(through, cell="single", p50_us=value) for through, value in times.items()))[1]
        self.assertEqual((without["judged"], without["met"]), (20, False))
        self.assertEqual((awake["judged"], awake["met"]), (-10, True))
        self.assertEqual(awake["medians"]["tollgate"], 90)

    def test_what_was_not_measured_has_no_row(self):
        self.assertEqual(len(lines()[0]), 2)


class Instructions(unittest.TestCase):
    def test_more_than_three_per_cent_is_a_rise_or_a_fall(self):
        baseline = {"a": 1000, "b": 1000, "c": 1000, "d": 1000}
        text, rose, fell = instructions.judged({"a": 1030, "b": 1031, "c": 969, "d": 970}, baseline)
        self.assertEqual((rose, fell), (["b"], ["c"]))
        self.assertIn("| b | 1,031 | 1,000 | +3.1% |", text)

    def test_an_exchange_without_a_baseline_fails(self):
        self.assertEqual(instructions.judged({"new": 5}, {})[1], ["new"])


if __name__ == "__main__":
    unittest.main()
