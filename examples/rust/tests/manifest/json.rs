//! A reader of JSON that is enough for a manifest, so that the tests need no other crate.

use std::collections::HashMap;

pub enum Json {
    Text(String),
    Array(Vec<Json>),
    Object(HashMap<String, Json>),
    /// A number, true, false or null, which the tests do not need.
    Word,
}

impl Json {
    pub fn parse(text: &str) -> Json {
        Reader { rest: text }.value()
    }

    pub fn get(&self, key: &str) -> &Json {
        match self {
            Json::Object(members) => &members[key],
            _ => panic!("{key}: not in an object"),
        }
    }

    pub fn array(&self) -> &[Json] {
        match self {
            Json::Array(items) => items,
            _ => panic!("not an array"),
        }
    }

    pub fn text(&self) -> &str {
        match self {
            Json::Text(text) => text,
            _ => panic!("not a string"),
        }
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn value(&mut self) -> Json {
        match self.peek() {
            '{' => Json::Object(self.items('}', Self::member).into_iter().collect()),
            '[' => Json::Array(self.items(']', Self::value)),
            '"' => Json::Text(self.string()),
            _ => self.word(),
        }
    }

    fn items<T>(&mut self, end: char, item: fn(&mut Self) -> T) -> Vec<T> {
        let mut items = Vec::new();
        self.take();
        while self.peek() != end {
            items.push(item(self));
            if self.peek() == ',' {
                self.take();
            }
        }
        self.take();
        items
    }

    fn member(&mut self) -> (String, Json) {
        self.peek();
        let key = self.string();
        assert_eq!(self.peek(), ':');
        self.take();
        (key, self.value())
    }

    fn string(&mut self) -> String {
        let mut units = Vec::new(); // UTF-16: an escape is a unit of it.
        assert_eq!(self.take(), '"');
        loop {
            match self.take() {
                '"' => return String::from_utf16(&units).unwrap(),
                '\\' => units.push(self.escape()),
                other => units.extend_from_slice(other.encode_utf16(&mut [0; 2])),
            }
        }
    }

    fn escape(&mut self) -> u16 {
        match self.take() {
            'u' => {
                let (digits, rest) = self.rest.split_at(4);
                self.rest = rest;
                u16::from_str_radix(digits, 16).unwrap()
            }
            'b' => 8,
            't' => 9,
            'n' => 10,
            'f' => 12,
            'r' => 13,
            other => other as u16,
        }
    }

    fn word(&mut self) -> Json {
        let end = self.rest.find([',', '}', ']', '\n', ' ']).unwrap_or(self.rest.len());
        self.rest = &self.rest[end..];
        Json::Word
    }

    /// The next character that is not white space.
    fn peek(&mut self) -> char {
        self.rest = self.rest.trim_start();
        self.rest.chars().next().expect("the text ends early")
    }

    fn take(&mut self) -> char {
        let mut characters = self.rest.chars();
        let first = characters.next().expect("the text ends early");
        self.rest = characters.as_str();
        first
    }
}
