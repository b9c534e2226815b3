//! Which field stands at a place of a JSON text: serde_json only knows the line and the column.

/// A container that is open, and where in it one is.
enum Open {
    Object(Option<String>),
    Array(usize),
}

/// The field before this place, as `update.nlri[2].prefix`; empty outside of all.
pub(super) fn place(text: &str, line: usize, column: usize) -> String {
    let before: usize = text
        .split_inclusive('\n')
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum();
    let end = text.floor_char_boundary(before.saturating_add(column));
    let mut open: Vec<Open> = Vec::new();
    let mut characters = text.get(..end).unwrap_or(text).chars();
    while let Some(character) = characters.next() {
        match (character, open.last_mut()) {
            ('{', _) => open.push(Open::Object(None)),
            ('[', _) => open.push(Open::Array(0)),
            ('}' | ']', _) => drop(open.pop()),
            (',', Some(Open::Object(key))) => *key = None,
            (',', Some(Open::Array(index))) => *index += 1,
            ('"', Some(Open::Object(key @ None))) => *key = Some(string(&mut characters)),
            ('"', _) => drop(string(&mut characters)),
            _ => {}
        }
    }
    let mut path = String::new();
    for container in open {
        match container {
            Open::Object(Some(key)) if path.is_empty() => path = key,
            Open::Object(Some(key)) => {
                path.push('.');
                path.push_str(&key);
            }
            Open::Object(None) => {}
            Open::Array(index) => path.push_str(&format!("[{index}]")),
        }
    }
    path
}

/// What is left of a string, with its escapes as they are.
fn string(characters: &mut impl Iterator<Item = char>) -> String {
    let mut text = String::new();
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            '\\' => {
                text.push('\\');
                text.extend(characters.next());
            }
            character => text.push(character),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn a_place_is_named_by_the_fields_around_it() {
        let text = "{\"a\": {\"b\\\"}\": [1, {\"c\": 2},\n  \"]\", 3]}, \"d\": 4} [5]";
        let at = |what: &str| {
            let offset = text.find(what).unwrap();
            let before = &text[..offset];
            let line = before.matches('\n').count() + 1;
            let column = offset - before.rfind('\n').map_or(0, |place| place + 1) + what.len();
            place(text, line, column)
        };
        assert_eq!(at("\"a\""), "a");
        assert_eq!(at("1"), "a.b\\\"}[0]");
        assert_eq!(at("2"), "a.b\\\"}[1].c");
        assert_eq!(at("3"), "a.b\\\"}[3]");
        assert_eq!(at("4"), "d");
        assert_eq!(at("4}"), "");
        assert_eq!(at("5"), "[0]");
        assert_eq!(place(text, 99, 99), "");
        assert_eq!(place("", 0, 0), "");
        assert_eq!(place("\"ü", 1, 2), "");
    }
}
