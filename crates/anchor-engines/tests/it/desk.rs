//! The news desk, asked about the sample rundown.

use std::sync::Arc;

use anchor_core::engine::{Llm, LlmEvent, LlmRequest, Message, Role};
use anchor_core::rundown::{OnAir, Rundown};
use anchor_engines::llm::desk::Desk;
use futures::{StreamExt, executor};
use jiff::civil::date;
use serde::Deserialize;
use tokio::sync::watch;

const EVENING: &str = include_str!("../../../../rundowns/evening.md");

/// A desk with the sample rundown, for which it is always seven minutes past four.
fn desk() -> Desk {
    desk_on_air(Rundown::parse(EVENING).unwrap()).0
}

fn desk_on_air(rundown: Rundown) -> (Desk, watch::Sender<OnAir>) {
    let on_air = OnAir { rundown: Arc::new(rundown), version: 1, problem: None };
    let (sender, receiver) = watch::channel(on_air);
    (Desk::new("en", receiver, || date(2026, 11, 23).at(16, 7, 0, 0)).unwrap(), sender)
}

/// What the desk says to the last message, and the stories it rests on.
#[derive(Debug, Default, PartialEq)]
struct Said {
    text: String,
    stories: Vec<String>,
    clauses: usize,
}

fn generate(desk: &Desk, request: LlmRequest) -> Said {
    let mut said = Said::default();
    for event in executor::block_on(desk.generate(request).collect::<Vec<_>>()) {
        match event.expect("the desk never fails") {
            LlmEvent::Delta(text) => {
                said.clauses += 1;
                said.text.push_str(&text);
            }
            LlmEvent::Source(story) => said.stories.push(story),
        }
    }
    said
}

fn user(text: &str) -> Message {
    Message { role: Role::User, text: text.into(), interrupted: false }
}

fn ask(desk: &Desk, line: &str) -> Said {
    generate(desk, LlmRequest { messages: vec![user(line)], ..LlmRequest::default() })
}

#[derive(Deserialize)]
struct Routing {
    line: Vec<Asked>,
}

#[derive(Clone, Deserialize)]
struct Asked {
    #[serde(alias = "text")]
    ask: String,
    story: Option<String>,
    has: Option<String>,
}

impl Asked {
    fn is_answered_by(&self, said: &Said) -> bool {
        self.story.as_ref().is_none_or(|story| said.stories == [story.clone()])
            && self.has.as_ref().is_none_or(|words| said.text.contains(words))
    }
}

/// Share of the lines that are answered as they should be; prints the others.
fn accuracy(desk: &Desk, lines: &[Asked]) -> f64 {
    let right = |asked: &&Asked| {
        let said = ask(desk, &asked.ask);
        let right = asked.is_answered_by(&said);
        if !right {
            println!("{} -> {said:?}", asked.ask);
        }
        right
    };
    lines.iter().filter(right).count() as f64 / lines.len() as f64
}

#[test]
fn finds_what_is_asked_for() {
    let routing: Routing = toml::from_str(include_str!("../data/routing.toml")).unwrap();
    let accuracy = accuracy(&desk(), &routing.line);
    println!("of {} lines right: {:.1} %", routing.line.len(), 100.0 * accuracy);
    assert!(accuracy >= 0.95);
}

#[test]
fn finds_what_the_benchmark_asks() {
    #[derive(Deserialize)]
    struct Bench {
        question: Vec<Asked>,
    }
    let bench: Bench = toml::from_str(include_str!("../../../ai-anchor/assets/bench/questions.toml")).unwrap();
    assert_eq!(bench.question.len(), 40);
    let accuracy = accuracy(&desk(), &bench.question);
    println!("of {} questions right: {:.1} %", bench.question.len(), 100.0 * accuracy);
    assert!(accuracy >= 0.95);
}
