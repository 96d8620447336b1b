"""What house.py sees in a file."""

import tempfile
import unittest
from pathlib import Path

import house

CODE = '''//! A file.

/// Documented.
#[derive(
    Debug,
)]
pub struct Pair {
    /// Said.
    pub one: u8,
    pub two: u8,
}

pub fn long(text: &str) -> String
where
    u8: Sized,
{
    let brace = "}"; // }
    let quote = '"'; /* { */ let life: &'static str = r#"a " } b"#;
    text.parse::<u8>().unwrap();
    format!("{brace}{quote}{life}")
}

trait Short {
    fn declared(&self);
    fn given(&self) {}
}

#[cfg(test)]
mod only;

#[cfg(test)]
mod tests {
    pub fn silent() { None::<u8>.unwrap(); }
}
'''


class Seen(unittest.TestCase):
    def setUp(self):
        self.root = Path(self.enterContext(tempfile.TemporaryDirectory()))
        (self.root / "pair.rs").write_text(CODE)
        (self.root / "pair").mkdir()
        (self.root / "pair" / "only.rs").write_text("pub fn tested() {}\n")
        self.files = house.sources(self.root)

    def test_files_that_only_tests_see_are_left_out(self):
        self.assertEqual([str(file.path) for file in self.files], ["pair.rs"])
        self.assertEqual(self.files[0].length(), CODE.count("\n") - 6)

    def test_functions_end_where_they_end(self):
        self.assertEqual(list(self.files[0].functions()), [(9, 13), (1, 25)])

    def test_what_has_no_word_is_named(self):
        self.assertEqual(list(self.files[0].undocumented(house.ITEM)), [13])
        self.assertEqual(list(self.files[0].undocumented(house.FIELD)), [10])

    def test_panics_outside_tests_are_counted(self):
        self.assertEqual(house.figures(self.files)["unwraps"], (1, ["pair.rs:19"]))

    def test_equal_runs_are_found_once(self):
        run = "".join(f"    step_{number}();\n" for number in range(8))
        for name in ("a", "b"):
            (self.root / f"{name}.rs").write_text(f"fn {name}() {{\n{run}}}\n")
        self.assertEqual(house.duplicates(house.sources(self.root)), [("a.rs:2", "b.rs:2")])


if __name__ == "__main__":
    unittest.main()
