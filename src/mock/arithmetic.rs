//! Sums in a question: `What is 1+1?` has the answer `2`.

/// What the first `a op b` in the text comes to; `None` if there is none. A number with a name, a date
/// (`2024-05-01`) or a longer calculation is left alone.
pub fn solve(text: &str) -> Option<String> {
    text.char_indices()
        .filter(|&(at, c)| c.is_ascii_digit() && begins_number(&text[..at]))
        .find_map(|(at, _)| sum(&text[at..]))
}

/// Whether a number may begin after this text, and not the rest of a name or a calculation.
fn begins_number(before: &str) -> bool {
    if before.ends_with(|c: char| c.is_alphanumeric() || "._-+".contains(c)) {
        return false;
    }
    let operand = before.trim_end().strip_suffix(is_operator).map(str::trim_end);
    !operand.is_some_and(|text| text.ends_with(char::is_alphanumeric))
}

fn sum(text: &str) -> Option<String> {
    let (a, rest) = number(text)?;
    let rest = rest.trim_start();
    let operator = rest.chars().next()?;
    let (b, rest) = number(rest.strip_prefix(operator)?.trim_start())?;
    let mut after = rest.trim_start().chars();
    let longer = after.next().is_some_and(|c| {
        is_operator(c) && after.as_str().trim_start().starts_with(|c: char| c.is_ascii_digit())
    });
    if longer || rest.starts_with(char::is_alphabetic) {
        return None;
    }
    let value = match operator {
        '+' => a + b,
        '-' | '−' => a - b,
        '*' | 'x' | '×' => a * b,
        '/' | '÷' if b == 0.0 => return Some("A number cannot be divided by zero.".to_owned()),
        '/' | '÷' => a / b,
        _ => return None,
    };
    Some(written(value))
}

fn is_operator(c: char) -> bool {
    "+-−*x×/÷^".contains(c)
}

/// The number that the text begins with, and what follows it.
fn number(text: &str) -> Option<(f64, &str)> {
    let whole = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let fraction = text[whole..].strip_prefix('.').map_or(0, |rest| {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        if digits == 0 { 0 } else { digits + 1 }
    });
    let (number, rest) = text.split_at_checked(whole + fraction)?;
    Some((number.parse().ok()?, rest))
}

/// At most six decimals, without the zeros at the end that nobody writes.
fn written(value: f64) -> String {
    let text = format!("{value:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::solve;

    #[test]
    fn sums_are_worked_out() {
        for (question, answer) in [
            ("What is 1+1?", "2"),
            ("what is 1 + 2?", "3"),
            ("7 x 6", "42"),
            ("10 / 4 please", "2.5"),
            ("(2.5*2)", "5"),
            ("3 - 5", "-2"),
            ("0.1+0.2", "0.3"),
            ("1/0", "A number cannot be divided by zero."),
        ] {
            assert_eq!(solve(question).as_deref(), Some(answer), "{question}");
        }
    }

    #[test]
    fn other_numbers_are_left_alone() {
        for text in [
            "",
            "on 2024-05-01",
            "gpt-4-1",
            "1 + 1 + 1",
            "room 12",
            "3 apples",
            "v1.2",
            "4+x",
            "2x4mm",
            "日本 5",
        ] {
            assert_eq!(solve(text), None, "{text}");
        }
    }
}
