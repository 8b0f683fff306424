//! Paths of deltas: `root` and elements in brackets, `root['nodes'][3]`. Read for `apply`, checked
//! for `is_plain`, written for `difference`.
//!
//! Text stands in them unescaped, so keys with quotes mean different things to different versions
//! of deepdiff. Here they are read as 8.1.1 does, which tries each element as a Python literal.

use super::document::TEXT;
use super::{DeltaError, ELEMENT};
use crate::wire::pickle::{Value, from_decimal};

/// A path, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    /// What to index with, one after the other; none for the document itself.
    pub(super) elements: Vec<Value>,
    /// Whether every version reads it so.
    pub(super) strict: bool,
}

impl Path {
    /// Reads the text of a path.
    pub(super) fn parse(path: &Value) -> Result<Self, DeltaError> {
        let text = path
            .as_str()
            .ok_or(DeltaError::Shape("a path that is no text"))?;
        let elements = Tokens::default().run(text);
        let elements = elements.ok_or_else(|| DeltaError::Path(shown(text)))?;
        let strict = is_strict(text);
        Ok(Self { elements, strict })
    }

    /// The path and its last element; `None` for the document itself.
    pub(super) fn split(&self) -> Option<(&[Value], &Value)> {
        let (last, parent) = self.elements.split_last()?;
        Some((parent, last))
    }
}

/// What it costs to read a path: no element is shorter than what ends it.
pub(super) fn cost(path: &Value) -> usize {
    let text = path.as_str().unwrap_or_default();
    let ends = |char| text.matches(char).count();
    let elements = ends(']').saturating_add(ends('\'') / 2);
    let elements = elements.saturating_add(ends('"') / 2).saturating_add(2);
    elements
        .saturating_mul(ELEMENT)
        .saturating_add(text.len() / TEXT)
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

/// Whether a text key stands in a path as itself, for every version.
pub(super) fn is_safe_key(key: &str) -> bool {
    let unsafe_char = |c: char| matches!(c, '\'' | '"' | '[' | ']' | '\\') || c.is_control();
    !key.is_empty() && !key.starts_with("__") && !key.contains(unsafe_char) && !is_musical(key)
}

/// A path continued by an element, if every version reads it so.
pub(super) fn join(path: &str, element: &Value) -> Option<String> {
    match element {
        Value::Int(index) => Some(format!("{path}[{index}]")),
        Value::Str(key) => {
            let key = key.as_str().filter(|key| is_safe_key(key))?;
            Some(format!("{path}['{key}']"))
        }
        _ => None,
    }
}

/// Whether every version reads a path alike: whole numbers and plain text in quotes.
pub(super) fn is_strict(path: &str) -> bool {
    let Some(mut rest) = path.strip_prefix("root") else {
        return false;
    };
    while !rest.is_empty() {
        let Some(element) = rest.strip_prefix('[') else {
            return false;
        };
        let quote = element.chars().next().filter(|c| matches!(c, '\'' | '"'));
        let end = match quote {
            Some(quote) => {
                let text = element.get(1..).unwrap_or_default();
                let Some((key, after)) = text.split_once(quote) else {
                    return false;
                };
                if !is_safe_key(key) {
                    return false;
                }
                after
            }
            None => {
                let digits = element.strip_prefix('-').unwrap_or(element);
                let after = digits.trim_start_matches(|c: char| c.is_ascii_digit());
                let number = element.strip_suffix(after).unwrap_or_default();
                if !is_int(number) || number.parse::<i64>().is_err() {
                    return false;
                }
                after
            }
        };
        let Some(after) = end.strip_prefix(']') else {
            return false;
        };
        rest = after;
    }
    true
}

/// deepdiff keeps a mark of its own in paths, made of these.
fn is_musical(text: &str) -> bool {
    text.contains(['\u{1d165}', '\u{1d16f}', '\u{1d1af}', '\u{1d1ba}'])
}

/// The state of 8.1.1's reader.
#[derive(Default)]
struct Tokens {
    elements: Vec<Value>,
    element: String,
    in_brackets: bool,
    open: bool,
    /// The quote that will end the text being read.
    quote: Option<char>,
}

impl Tokens {
    /// The elements; `None` if they cannot be told, or are attributes, which no client sends.
    fn run(mut self, path: &str) -> Option<Vec<Value>> {
        if is_musical(path) {
            return None;
        }
        for char in path.strip_prefix("root")?.chars() {
            match char {
                '\'' | '"' => {
                    self.element.push(char);
                    match self.quote {
                        None => self.quote = Some(char),
                        Some(quote) if quote == char => {
                            self.end()?;
                            self.quote = None;
                        }
                        Some(_) => {}
                    }
                }
                _ if self.quote.is_some() => self.element.push(char),
                '[' if self.in_brackets => self.element.push(char),
                '[' => {
                    self.in_brackets = true;
                    self.open = true;
                    self.element.clear();
                }
                '.' if !self.in_brackets => return None,
                ']' => {
                    self.open = false;
                    self.end()?;
                    self.in_brackets = false;
                }
                _ => self.element.push(char),
            }
        }
        self.end()?;
        Some(self.elements)
    }

    fn end(&mut self) -> Option<()> {
        let element = std::mem::take(&mut self.element);
        // The empty ones that quotes leave behind, and what deepdiff takes for private.
        if element.is_empty() || element.starts_with("__") {
            return Some(());
        }
        self.elements.push(literal(&element)?);
        Some(())
    }
}

/// The value of an element; `None` if it may be a literal of a kind that is not understood here.
fn literal(element: &str) -> Option<Value> {
    let first = element.chars().next()?;
    let quoted = matches!(first, '\'' | '"');
    if element.contains('\\') || (quoted && element.ends_with(first)) {
        return Some(Value::str(unquoted(element)));
    }
    match element {
        "None" => return Some(Value::None),
        "True" => return Some(Value::Bool(true)),
        "False" => return Some(Value::Bool(false)),
        _ => {}
    }
    if is_int(element) {
        return from_decimal(element);
    }
    if is_float(element) {
        return element.parse().ok().map(Value::Float);
    }
    is_no_literal(element).then(|| Value::str(unquoted(element)))
}

/// Without the quotes around it, if there are equal ones.
fn unquoted(element: &str) -> &str {
    let mut chars = element.chars();
    match (chars.next(), chars.next_back()) {
        (Some(first @ ('\'' | '"')), Some(last)) if first == last => chars.as_str(),
        // A single quote is its own pair.
        (Some('\'' | '"'), None) => "",
        _ => element,
    }
}

/// As Python writes them: no zeros before other digits.
fn is_int(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'))
}

/// As Python writes them.
fn is_float(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    let (number, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (number.contains('.') || text.contains('e'))
        && digits(whole)
        && digits(fraction)
        && digits(exponent)
}

/// Whether Python surely finds no literal here: a name, text that does not end, or a word before a
/// text (unless it is a prefix like `b`).
fn is_no_literal(element: &str) -> bool {
    let is_word = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ' '))
    };
    let (before, after) = match element.find(['\'', '"']) {
        Some(at) => element.split_at(at),
        None => (element, ""),
    };
    if after.is_empty() {
        return is_word(before) && before.len() > 1 && !before.contains(' ');
    }
    let unfinished = after
        .chars()
        .next()
        .is_some_and(|quote| after.matches(quote).count() == 1);
    let prefix = before.len() <= 2
        && before
            .chars()
            .all(|c| "bfrtu".contains(c.to_ascii_lowercase()));
    !element.contains(['#', '\n'])
        && ((before.is_empty() && unfinished) || (is_word(before) && (unfinished || !prefix)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(path: &str) -> Option<Vec<Value>> {
        Path::parse(&Value::str(path))
            .ok()
            .map(|path| path.elements)
    }

    #[test]
    fn elements_are_text_and_numbers() {
        assert_eq!(parse("root"), Some(vec![]));
        assert_eq!(
            parse(r#"root['a'][12][-3]["b c"][1.5][None][True]"#),
            Some(vec![
                "a".into(),
                12.into(),
                (-3).into(),
                "b c".into(),
                1.5.into(),
                Value::None,
                true.into()
            ])
        );
        let big = parse("root[1180591620717411303424]").unwrap();
        assert_eq!(format!("{big:?}"), "[0x400000000000000000]");
        assert_eq!(parse("root['']"), Some(vec!["".into()]));
        assert_eq!(parse("root['5']"), Some(vec!["5".into()]));
        assert_eq!(parse("root[name]"), Some(vec!["name".into()]));
        assert_eq!(parse(r"root['a\b']"), Some(vec![r"a\b".into()]));
        assert_eq!(parse("root['a[1].b']"), Some(vec!["a[1].b".into()]));
    }

    #[test]
    fn no_path_has_more_elements_than_are_paid_for() {
        for path in [
            "root",
            "root['a'][12][-3][\"b c\"]",
            "root''''''\"\"\"\"",
            "root1]2]3]'a'4]",
            "root['a'b']'c'd",
            "root[[[[1]]]]",
            "root'\"'\"'\"'",
        ] {
            let elements = parse(path).unwrap_or_default().len();
            let cost = cost(&Value::str(path));
            assert!(elements * ELEMENT < cost, "{path}: {elements}");
        }
        let many = format!("root{}", "[0]".repeat(1000));
        let elements = parse(&many).unwrap().len();
        assert!(cost(&many.into()) < elements * ELEMENT * 2);
    }

    #[test]
    fn quotes_in_keys_are_read_as_by_the_model() {
        assert_eq!(parse(r#"root["a'b"]"#), Some(vec!["a'b".into()]));
        assert_eq!(parse("root['a'b']"), Some(vec!["a".into(), "b']".into()]));
    }

    #[test]
    fn what_no_client_sends_is_refused() {
        for path in [
            "root.a",
            "root['a'].b",
            "x",
            "root[(1, 2)]",
            "root[b'a']",
            "root[1_000]",
            "root[0x10]",
            "root[1+2j]",
            "root[[1]]",
            "root[01]",
        ] {
            assert_eq!(parse(path), None, "{path}");
        }
    }

    #[test]
    fn strict_is_what_every_version_reads_alike() {
        for path in [
            "root",
            "root['a']",
            r#"root["a b.001"][0][-1]"#,
            "root['ü']",
        ] {
            assert!(is_strict(path), "{path}");
        }
        for path in [
            "",
            "roo",
            "root[",
            "root[]",
            "root['a'",
            "root['a']x",
            "root['']",
            "root['__a']",
            "root[1.5]",
            "root[01]",
            "root[None]",
            r#"root["a'b"]"#,
            "root['a[b']",
            r"root['a\']",
            "root[-]",
            "root.a",
        ] {
            assert!(!is_strict(path), "{path}");
        }
    }
}
