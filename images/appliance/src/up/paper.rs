//! What `bulla up` writes: a numbered story for people, one JSON object for machines.

use std::io::Write;
use std::path::Path;

use anstyle::{AnsiColor, Style};
use serde_json::{Map, Value, json};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const WARN: Style =
    AnsiColor::Black.on_default().bg_color(Some(anstyle::Color::Ansi(AnsiColor::Yellow))).bold();

/// Where the story is written. Colours are left out where there is no terminal.
pub struct Paper {
    json: bool,
    steps: Vec<Value>,
    fields: Map<String, Value>,
    number: u32,
    heading: String,
    failure: Option<String>,
}

impl Paper {
    /// For people, or for machines.
    pub fn new(json: bool) -> Paper {
        Paper {
            json,
            steps: Vec::new(),
            fields: Map::new(),
            number: 0,
            heading: String::new(),
            failure: None,
        }
    }

    /// The first line.
    pub fn title(&mut self, name: &str, what: &str) {
        self.line(&format!("{BOLD}{name}{BOLD:#} {DIM}{what}{DIM:#}"));
    }

    /// A warning nobody can miss.
    pub fn warning(&mut self, text: &str) {
        let rule = " ".repeat(text.len() + 4);
        for line in [&rule, &format!("  {text}  "), &rule] {
            self.line(&format!("{WARN}{line}{WARN:#}"));
        }
    }

    /// Starts a step of the story.
    pub fn step(&mut self, heading: &str) {
        self.close_step();
        self.number += 1;
        self.heading = heading.to_owned();
        self.line("");
        self.line(&format!("{BOLD}{:>2}. {heading}{BOLD:#}", self.number));
    }

    /// One fact of the step.
    pub fn fact(&mut self, name: &str, value: impl ToString) {
        let value = value.to_string();
        self.line(&format!("    {DIM}{name:<16}{DIM:#} {value}"));
        self.fields.insert(name.replace(' ', "_"), Value::String(value));
    }

    /// Several lines of one fact, such as a table.
    pub fn block(&mut self, name: &str, text: &str) {
        for line in text.lines() {
            self.line(&format!("    {line}"));
        }
        self.fields.insert(name.to_owned(), Value::String(text.to_owned()));
    }

    /// A piece of the answer as it streams.
    pub fn stream(&mut self, text: &str) {
        if !self.json {
            anstream::print!("{text}");
            // A terminal that does not flush shows the text a little later.
            let _ = std::io::stdout().flush();
        }
    }

    /// An aside.
    pub fn note(&mut self, text: &str) {
        self.line(&format!("{DIM}{text}{DIM:#}"));
    }

    /// A step failed.
    pub fn failed(&mut self, why: &str) {
        self.line("");
        self.line(&format!("{BAD}the story broke off:{BAD:#} {why}"));
        self.failure = Some(why.to_owned());
    }

    /// A step's verdict.
    pub fn verdict(&mut self, text: &str) {
        self.line(&format!("    {GOOD}{text}{GOOD:#}"));
        self.fields.insert("verdict".to_owned(), Value::String(text.to_owned()));
    }

    /// Where it serves.
    pub fn serving(&mut self, endpoint: &str, data: &Path, sells_blind_tokens: bool) {
        let data = data.display();
        self.line("");
        self.line(&format!("{BOLD}serving{BOLD:#} {endpoint}"));
        self.line(&format!(
            "  curl {endpoint}/chat/completions -H 'content-type: application/json' \\"
        ));
        self.line("    -d '{\"model\":\"bulla-demo\",\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}'");
        self.line(&format!("  bulla chat \"hello\" --data {data}     bulla audit --data {data}"));
        if sells_blind_tokens {
            self.line(&format!(
                "  bulla account draw 1000 --data {data}    bulla chat --anonymous \"hello\" --data {data}"
            ));
        }
        self.line(&format!("{DIM}Ctrl-C stops{DIM:#}"));
        self.close_step();
        if self.json {
            let line = json!({"endpoint": endpoint, "steps": self.steps, "failure": self.failure});
            anstream::println!("{line}");
        }
    }

    /// The last line.
    pub fn finish(&mut self, held: bool) {
        self.close_step();
        if self.json {
            let line = json!({"held": held, "steps": self.steps, "failure": self.failure});
            anstream::println!("{line}");
            return;
        }
        self.line("");
        match held {
            true => self.line(&format!("{GOOD}every step held{GOOD:#}")),
            false => self.line(&format!("{BAD}not every step held{BAD:#}")),
        }
    }

    fn close_step(&mut self) {
        if !self.heading.is_empty() {
            let facts = std::mem::take(&mut self.fields);
            let heading = std::mem::take(&mut self.heading);
            self.steps.push(json!({"step": self.number, "heading": heading, "facts": facts}));
        }
    }

    fn line(&self, text: &str) {
        if !self.json {
            anstream::println!("{text}");
        }
    }
}
