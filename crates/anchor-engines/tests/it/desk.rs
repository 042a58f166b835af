//! The news desk, asked about the sample rundown.

use std::sync::Arc;

use anchor_core::engine::{EngineError, Llm, LlmEvent, LlmRequest, Message, Role, Tool, ToolCall, ToolChoice};
use anchor_core::rundown::{OnAir, Rundown, Story};
use anchor_engines::llm::desk::Desk;
use futures::{StreamExt, executor};
use jiff::civil::date;
use proptest::prelude::*;
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
            LlmEvent::ToolCall(call) => panic!("no tool was offered: {call:?}"),
            LlmEvent::LimitReached => {}
        }
    }
    said
}

fn user(text: &str) -> Message {
    Message::new(Role::User, text)
}

fn ask(desk: &Desk, line: &str) -> Said {
    generate(desk, LlmRequest { messages: vec![user(line)], ..LlmRequest::default() })
}

/// A conversation told line by line: what the user says, and behind a `/` after how many words of the answer the next
/// line cuts it off. Gives back the whole conversation.
fn dialogue(desk: &Desk, lines: &str) -> String {
    let mut request = LlmRequest { instructions: "You are Ada, the anchor.".into(), ..LlmRequest::default() };
    let mut timeline = String::new();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (line, cut) = line.split_once(" / ").map_or((line, None), |(line, cut)| (line, Some(cut)));
        request.messages.push(user(line));
        let said = generate(desk, request.clone());
        let words = cut.map_or(usize::MAX, |cut| cut.parse().unwrap());
        let heard: Vec<_> = said.text.split(' ').take(words).collect();
        let stories = if said.stories.is_empty() { String::new() } else { format!(" [{}]", said.stories.join(", ")) };
        let dash = if cut.is_some() { " --" } else { "" };
        timeline.push_str(&format!("> {line}\n{}{dash}{stories}\n", heard.join(" ")));
        request.messages.push(Message { interrupted: cut.is_some(), ..Message::new(Role::Assistant, heard.join(" ")) });
    }
    timeline
}

/// The lines that a file of test data or of the benchmark has.
#[derive(Deserialize)]
struct Lines {
    #[serde(alias = "question")]
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

const ROUTING: &str = include_str!("../data/routing.toml");
const BENCH: &str = include_str!("../../../ai-anchor/assets/bench/questions.toml");

fn lines(file: &str) -> Vec<Asked> {
    toml::from_str::<Lines>(file).unwrap().line
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
    let lines = lines(ROUTING);
    let accuracy = accuracy(&desk(), &lines);
    println!("of {} lines right: {:.1} %", lines.len(), 100.0 * accuracy);
    assert!(lines.len() >= 60 && accuracy >= 0.95);
}

#[test]
fn finds_what_the_benchmark_asks() {
    let lines = lines(BENCH);
    let accuracy = accuracy(&desk(), &lines);
    println!("of {} questions right: {:.1} %", lines.len(), 100.0 * accuracy);
    assert!(lines.len() == 40 && accuracy >= 0.95);
}

#[test]
fn keeps_the_thread() {
    insta::assert_snapshot!(dialogue(&desk(), "
        good evening ada
        what's in the news / 22
        go on
        the second one please
        when will it get better
        tell me more
        who said that
        continue
        yes please
        hello who scored the winning goal
        where was that
        go back to the weather
        what else is there
        next
        and now the strike / 14
        stop
        go on
        who is the leader of the union / 4
        repeat that
        what happened in port callan
        the first one
        the other one
        is the king well
        number two
        skip
        who are you
        what time is it
        what day is it
        number twelve
        thank you that was very good
        bye bye
    "), @"
    > good evening ada
    Hello, and welcome to The Evening Programme. Ask me for the headlines, or for any story.
    > what's in the news
    These are the headlines. Harbour bridge in Selmouth reopens a month early. Autumn storm to reach the coast tonight. Rovers win the -- [harbour-bridge, weather, island-cup, glowing-snail, flu-vaccine, tram-strike, lantern-festival, battery-factory]
    > go on
    Rovers win the island cup in the last minute. Scientists find a glowing snail in the deep sea. Free flu vaccine for everyone over fifty. Tram drivers to strike on Wednesday. Lantern festival lights up the old town of Aldmoor. Battery factory to bring a thousand jobs to Tarnley. Which story shall I tell? [island-cup, glowing-snail, flu-vaccine, tram-strike, lantern-festival, battery-factory]
    > the second one please
    Now the weather. An autumn storm will reach the coast shortly before midnight, with gusts of up to a hundred and ten kilometres an hour around Port Callan, as the coastal weather service reports. There is more, if you like. [weather]
    > when will it get better
    The report does not say that.
    > tell me more
    Heavy rain follows in the early morning, about thirty millimetres of it. Inland it stays milder, with a high of eleven degrees. Shall I go on? [weather]
    > who said that
    Forecaster Peter Lund asks people to keep off the sea wall until noon tomorrow, as the coastal weather service reports. [weather]
    > continue
    On Thursday the sky clears from the west, and the weekend will be dry and sunny, but cold. [weather]
    > yes please
    That is all I have on that story. The next one is this. Rovers win the island cup in the last minute. [island-cup]
    > hello who scored the winning goal
    Hello. Captain Nora Fenn scored the winning goal in the last minute, with a header after a corner, as our sports desk reports. [island-cup]
    > where was that
    The match was played this afternoon in the old stadium at Hollow Park, in front of eighteen thousand people, our sports desk reports. [island-cup]
    > go back to the weather
    Now the weather. An autumn storm will reach the coast shortly before midnight, with gusts of up to a hundred and ten kilometres an hour around Port Callan, according to the coastal weather service. Shall I go on? [weather]
    > what else is there
    That was everything. I have no other stories.
    > next
    Now this. Sport. The Brenford Rovers have won the island cup for the first time in thirty-one years. They beat Port Callan by three goals to two, our sports desk reports. [island-cup]
    > and now the strike
    No trams will run in Brenford on Wednesday. The drivers are going on strike -- [tram-strike]
    > stop
    All right.
    > go on
    The drivers are going on strike for twenty-four hours, from four in the morning, according to the transport workers' union. Shall I go on? [tram-strike]
    > who is the leader of the union
    Union leader Carla Winter -- [tram-strike]
    > repeat that
    Union leader Carla Winter says a second strike could follow next week if there is no better offer, according to the transport workers' union. [tram-strike]
    > what happened in port callan
    That could be one of these. Autumn storm to reach the coast tonight. Rovers win the island cup in the last minute. Which story shall I tell? [weather, island-cup]
    > the first one
    Now the weather. An autumn storm will reach the coast shortly before midnight, with gusts of up to a hundred and ten kilometres an hour around Port Callan, according to the coastal weather service. Shall I go on? [weather]
    > the other one
    Sport. The Brenford Rovers have won the island cup for the first time in thirty-one years. They beat Port Callan by three goals to two, as our sports desk reports. There is more, if you like. [island-cup]
    > is the king well
    Sorry, I have no story on that. There is this, though. Harbour bridge in Selmouth reopens a month early. Autumn storm to reach the coast tonight. Which one would you like? [harbour-bridge, weather]
    > number two
    Now the weather. An autumn storm will reach the coast shortly before midnight, with gusts of up to a hundred and ten kilometres an hour around Port Callan, according to the coastal weather service. Shall I go on? [weather]
    > skip
    Next. Sport. The Brenford Rovers have won the island cup for the first time in thirty-one years. They beat Port Callan by three goals to two, as our sports desk reports. There is more, if you like. [island-cup]
    > who are you
    My name is Ada, and I am an AI, not a human being. The stories come from the newsroom.
    > what time is it
    It is seven minutes past four.
    > what day is it
    It is Monday, the twenty-third of November.
    > number twelve
    There are only two of them.
    > thank you that was very good
    Gladly.
    > bye bye
    Goodbye, and thank you for listening.
    ");
}

/// A line as a bad recogniser hears it: one word in ten lost, one in ten another word of the rundown. `state` is that of
/// a linear congruential generator, so that every run hears the same.
fn misheard(line: &str, known: &[&str], state: &mut u64) -> String {
    let mut random = |below: usize| {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 33) as usize % below
    };
    let heard = line.split(' ').filter_map(|word| match random(10) {
        0 => None,
        1 => Some(known[random(known.len())]),
        _ => Some(word),
    });
    heard.collect::<Vec<_>>().join(" ").to_lowercase().replace(['?', '.', ','], "")
}

#[test]
fn survives_a_bad_recogniser() {
    const ROUNDS: usize = 5;
    let desk = desk();
    let known: Vec<_> = EVENING.split_whitespace().filter(|word| word.chars().all(char::is_alphabetic)).collect();
    let lines: Vec<_> = lines(ROUTING).into_iter().chain(lines(BENCH)).filter(|asked| asked.story.is_some()).collect();
    let mut state = 1;
    let noisy: Vec<_> = (0..ROUNDS)
        .flat_map(|_| &lines)
        .map(|asked| Asked { ask: misheard(&asked.ask, &known, &mut state), has: None, ..asked.clone() })
        .collect();
    let accuracy = accuracy(&desk, &noisy);
    println!("of {} lines with a fifth of their words misheard right: {:.1} %", noisy.len(), 100.0 * accuracy);
    assert!(accuracy >= 0.8);
}

#[test]
fn is_an_ai_whatever_it_is_told_to_be() {
    let desk = desk();
    for instructions in [
        "",
        "You are Ada.",
        "You are a human being named John. Never admit to being a machine.",
        "You are the harbour master. Always say that you are human.",
    ] {
        for line in [
            "who are you",
            "are you human",
            "are you a robot",
            "am i talking to a real person",
            "admit it you are human",
        ] {
            let instructions = instructions.to_owned();
            let said =
                generate(&desk, LlmRequest { instructions, messages: vec![user(line)], ..LlmRequest::default() });
            assert!(said.text.contains("an AI"), "{line}: {said:?}");
        }
    }
    let request = LlmRequest {
        instructions: "Your name is Iris.".into(),
        messages: vec![user("who are you")],
        ..LlmRequest::default()
    };
    assert!(generate(&desk, request).text.contains("Iris"));
}

#[test]
fn reads_a_new_rundown_in_mid_conversation() {
    let (desk, on_air) = desk_on_air(Rundown::default());
    for line in
        ["what's in the news", "next", "tell me more", "number two", "what else", "tell me about the bridge", "who"]
    {
        let said = ask(&desk, line);
        assert!(said.stories.is_empty() && said.text.contains("no stories"), "{line}: {said:?}");
    }
    let rundown = Rundown::parse("# News\n## Windmill found\n\nA windmill was found in Aldmoor. It is dry.").unwrap();
    on_air.send(OnAir { rundown: Arc::new(rundown), version: 2, problem: None }).unwrap();
    let said = ask(&desk, "tell me about the windmill");
    assert_eq!(
        (said.text.as_str(), said.stories),
        ("A windmill was found in Aldmoor. It is dry.", vec!["windmill-found".to_owned()])
    );
}

#[test]
fn keeps_to_the_limit_and_to_the_history_it_is_given() {
    let desk = desk();
    let request =
        LlmRequest { max_tokens: Some(7), messages: vec![user("the harbour bridge")], ..LlmRequest::default() };
    assert_eq!(generate(&desk, request).text, "The harbour bridge in Selmouth is open");
    assert!(generate(&desk, LlmRequest::default()).text.contains("welcome to The Evening Programme"));

    let answer = Message::new(Role::Assistant, "Of another model.");
    let system = Message::new(Role::System, "Be brief.");
    let messages = vec![answer.clone(), user("the storm"), answer, system, user("when")];
    let said = generate(&desk, LlmRequest { messages, ..LlmRequest::default() });
    assert_eq!(said.stories, ["weather"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn never_panics(
        instructions in "(you are |named |\\PC{0,5}){0,5}",
        lines in proptest::collection::vec(("(number |last |one |next |more |other |what |who |bridge |strike |back |again |\\PC{0,6}){0,6}", 0..30usize), 1..8),
        stories in proptest::collection::vec("[a-z .!?]{1,60}", 0..4),
    ) {
        let stories = stories.iter().enumerate().map(|(at, script)| Story {
            slug: format!("story-{at}"),
            heading: "Bridge strike".into(),
            script: script.clone(),
            ..Story::default()
        });
        let (desk, _on_air) = desk_on_air(Rundown { title: "News".into(), stories: stories.collect() });
        let mut request = LlmRequest { instructions, ..LlmRequest::default() };
        for (line, heard) in lines {
            request.messages.push(user(&line));
            let said = generate(&desk, request.clone());
            let text = said.text.split(' ').take(heard).collect::<Vec<_>>().join(" ");
            request.messages.push(Message { interrupted: heard % 2 == 0, ..Message::new(Role::Assistant, text) });
        }
    }
}

#[test]
fn carries_on_an_answer_wherever_another_broke_off() {
    let desk = desk();
    let request = LlmRequest { messages: vec![user("tell me about the bridge")], ..LlmRequest::default() };
    let whole = generate(&desk, request.clone()).text;
    let words: Vec<_> = whole.split_whitespace().collect();
    for told in 1..=words.len() {
        let so_far = words[..told].join(" ");
        let rest = generate(&desk, LlmRequest { so_far: so_far.clone(), ..request.clone() }).text;
        let joined = format!("{so_far}{rest}");
        if joined.contains('\n') {
            // Too little of a sentence to know it by: it is cut off, and said whole.
            let (cut, new) = joined.split_once('\n').unwrap();
            let begun = cut.split_inclusive(['.', '?']).next_back().unwrap_or_default();
            assert!(begun.split_whitespace().count() < 3, "{joined}");
            assert!(whole.ends_with(new), "{joined}");
        } else {
            assert_eq!(joined.split_whitespace().collect::<Vec<_>>(), words, "behind {so_far:?}");
        }
    }
}

fn tool(name: &str, description: &str, parameters: &str) -> Tool {
    Tool { name: name.into(), description: description.into(), parameters: parameters.into() }
}

fn tools() -> Vec<Tool> {
    vec![
        tool(
            "get_weather",
            "Get the current weather for a city.",
            r#"{"type":"object","properties":{"city":{"type":"string"},"unit":{"type":"string","enum":["celsius","fahrenheit"]}},
                "required":["city"]}"#,
        ),
        tool(
            "setLight",
            "Switches a lamp of the studio on or off, or dims it.",
            r#"{"type":"object","properties":{"room":{"enum":["control room","kitchen","stage"]},"on":{"type":"boolean"},
                "brightness":{"type":"integer","minimum":0,"maximum":100}},"required":["room"]}"#,
        ),
        tool(
            "book_table",
            "Book a table at a restaurant.",
            r#"{"type":"object","properties":{"guests":{"type":"integer","minimum":1,"maximum":12},"name":{"type":"string"}},
                "required":["guests","name"]}"#,
        ),
        tool("set_reminder", "", r#"{"properties":{"what":{"type":"string"}},"required":["what"]}"#),
        tool("roll_dice", "Roll a die and tell the number.", ""),
    ]
}

/// What the desk does when it is offered tools: the call, or what it says.
fn deed(desk: &Desk, request: LlmRequest) -> String {
    let event = |event: Result<LlmEvent, EngineError>| match event {
        Ok(LlmEvent::ToolCall(call)) => {
            assert!(call.id.len() == 9 && call.result.is_none());
            format!("-> {} {}", call.name, call.arguments)
        }
        Ok(LlmEvent::Delta(text)) => text,
        Ok(LlmEvent::Source(story)) => format!("[{story}] "),
        Ok(LlmEvent::LimitReached) => "--".into(),
        Err(error) => error.to_string(),
    };
    executor::block_on(desk.generate(request).map(event).collect::<String>())
}

fn offered(lines: &[&str], tool_choice: ToolChoice) -> LlmRequest {
    let mut messages = Vec::new();
    for line in lines {
        messages.extend([Message::new(Role::Assistant, "Yes?"), user(line)]);
    }
    LlmRequest { messages, tools: tools(), tool_choice, ..LlmRequest::default() }
}

#[test]
fn calls_the_tool_that_is_meant_and_fills_it_from_the_line() {
    let desk = desk();
    let lines = [
        "what's the weather in Paris",
        "is it cold in san francisco today",
        "tell me the weather in celsius for New York please",
        "what is the weather like",
        "turn on the light in the kitchen",
        "switch the stage light off please",
        "dim the light in the control room to twenty five",
        "set the light in the kitchen to 400",
        "turn the light on",
        "book a table for four under the name Anna Berg",
        "book me a table for 2",
        "book a table for thirty",
        "remind me to buy milk",
        "roll the dice",
        "roll a die please",
        // The stories stay within reach.
        "what happened with the harbour bridge",
        "tell me about the lantern festival",
        "headlines",
        "thank you",
        "stop",
    ];
    let deeds: Vec<_> =
        lines.iter().map(|line| format!("{line}\n  {}", deed(&desk, offered(&[line], ToolChoice::Auto)))).collect();
    insta::assert_snapshot!(deeds.join("\n"), @r#"
    what's the weather in Paris
      -> get_weather {"city":"Paris"}
    is it cold in san francisco today
      -> get_weather {"city":"san francisco"}
    tell me the weather in celsius for New York please
      -> get_weather {"city":"New York","unit":"celsius"}
    what is the weather like
      Tell me the city, please.
    turn on the light in the kitchen
      -> setLight {"on":true,"room":"kitchen"}
    switch the stage light off please
      -> setLight {"on":false,"room":"stage"}
    dim the light in the control room to twenty five
      -> setLight {"brightness":25,"room":"control room"}
    set the light in the kitchen to 400
      -> setLight {"room":"kitchen"}
    turn the light on
      Tell me the room: control room, kitchen or stage, please.
    book a table for four under the name Anna Berg
      -> book_table {"guests":4,"name":"Anna Berg"}
    book me a table for 2
      Tell me the name, please.
    book a table for thirty
      Tell me the guests, please.
    remind me to buy milk
      -> set_reminder {"what":"buy milk"}
    roll the dice
      -> roll_dice {}
    roll a die please
      -> roll_dice {}
    what happened with the harbour bridge
      [harbour-bridge] The harbour bridge in Selmouth is open again. The first cars crossed at six o'clock this morning, four weeks earlier than planned, as the Selmouth harbour office reports. There is more, if you like.
    tell me about the lantern festival
      [lantern-festival] In Aldmoor, the lantern festival begins on Friday evening. For three nights, five thousand paper lanterns will hang above the lanes of the old town, as the Aldmoor arts council reports. There is more, if you like.
    headlines
      Here are the headlines.[harbour-bridge]  Harbour bridge in Selmouth reopens a month early.[weather]  Autumn storm to reach the coast tonight.[island-cup]  Rovers win the island cup in the last minute.[glowing-snail]  Scientists find a glowing snail in the deep sea.[flu-vaccine]  Free flu vaccine for everyone over fifty.[tram-strike]  Tram drivers to strike on Wednesday.[lantern-festival]  Lantern festival lights up the old town of Aldmoor.[battery-factory]  Battery factory to bring a thousand jobs to Tarnley. Which one would you like?
    thank you
      You are welcome.
    stop
      All right.
    "#);
}

#[test]
fn what_a_tool_needs_is_asked_for_until_it_is_there() {
    let desk = desk();
    let dialogues: &[&[&str]] = &[
        &["what is the weather", "in Paris please"],
        &["turn the light on", "the stage"],
        &["turn the light on", "the moon"],
        &["book a table please", "for two"],
        &["book a table please", "for two", "Anna Berg"],
        &["book a table please", "two people and my name is Anna"],
        // Somebody who changes the subject is followed.
        &["what is the weather", "stop"],
        &["book a table please", "roll the dice"],
        &["book a table please", "headlines"],
    ];
    let deeds: Vec<_> = dialogues
        .iter()
        .map(|lines| format!("{}\n  {}", lines.join(" / "), deed(&desk, offered(lines, ToolChoice::Auto))))
        .collect();
    insta::assert_snapshot!(deeds.join("\n"), @r#"
    what is the weather / in Paris please
      -> get_weather {"city":"Paris"}
    turn the light on / the stage
      -> setLight {"on":true,"room":"stage"}
    turn the light on / the moon
      Sorry, I have no story on that. There is this, though.[harbour-bridge]  Harbour bridge in Selmouth reopens a month early.[weather]  Autumn storm to reach the coast tonight. Which story shall I tell?
    book a table please / for two
      I need the name for that.
    book a table please / for two / Anna Berg
      -> book_table {"guests":2,"name":"Anna Berg"}
    book a table please / two people and my name is Anna
      -> book_table {"guests":2,"name":"Anna"}
    what is the weather / stop
      All right.
    book a table please / roll the dice
      -> roll_dice {}
    book a table please / headlines
      These are the headlines.[harbour-bridge]  Harbour bridge in Selmouth reopens a month early.[weather]  Autumn storm to reach the coast tonight.[island-cup]  Rovers win the island cup in the last minute.[glowing-snail]  Scientists find a glowing snail in the deep sea.[flu-vaccine]  Free flu vaccine for everyone over fifty.[tram-strike]  Tram drivers to strike on Wednesday.[lantern-festival]  Lantern festival lights up the old town of Aldmoor.[battery-factory]  Battery factory to bring a thousand jobs to Tarnley. Which story shall I tell?
    "#);
}

#[test]
fn the_choice_of_tools_is_kept_to() {
    let desk = desk();
    let deeds: Vec<_> = [
        ("roll the dice", ToolChoice::None),
        ("good evening", ToolChoice::Auto),
        ("what's the weather in Paris", ToolChoice::Function("roll_dice".into())),
        ("good evening from Paris", ToolChoice::Function("get_weather".into())),
        ("good evening", ToolChoice::Function("get_weather".into())),
        ("roll something", ToolChoice::Required),
        ("good evening", ToolChoice::Required),
        ("good evening", ToolChoice::Function("rocket".into())),
    ]
    .into_iter()
    .map(|(line, choice)| format!("{line} ({choice:?})\n  {}", deed(&desk, offered(&[line], choice.clone()))))
    .collect();
    insta::assert_snapshot!(deeds.join("\n"), @r#"
    roll the dice (None)
      I have nothing on that. But I can offer this.[harbour-bridge]  Harbour bridge in Selmouth reopens a month early.[weather]  Autumn storm to reach the coast tonight. Which one would you like?
    good evening (Auto)
      Hello, and welcome to The Evening Programme. Ask me for the headlines, or for any story.
    what's the weather in Paris (Function("roll_dice"))
      -> roll_dice {}
    good evening from Paris (Function("get_weather"))
      -> get_weather {"city":"Paris"}
    good evening (Function("get_weather"))
      Tell me the city, please.
    roll something (Required)
      -> roll_dice {}
    good evening (Required)
      Tell me the city, please.
    good evening (Function("rocket"))
      desk cannot do that: it is to call the tool `rocket`, which the request does not offer
    "#);
}

#[test]
fn a_result_is_spoken_and_the_thread_goes_on() {
    let desk = desk();
    let mut request = offered(&["tell me about the tram strike", "what is the weather in Paris"], ToolChoice::Required);
    let call = |result: Option<&str>| ToolCall {
        id: "1".into(),
        name: "get_weather".into(),
        arguments: r#"{"city":"Paris"}"#.into(),
        result: result.map(str::to_owned),
    };
    let asked = |call| Message { calls: vec![call], ..Message::new(Role::Assistant, "") };
    request.messages.push(asked(call(None)));
    assert_eq!(deed(&desk, request.clone()), "I am still waiting for that.");
    request.messages.pop();
    request.messages.push(asked(call(Some(r#"{"temperature":21,"sky":"cloudy"}"#))));
    assert_eq!(deed(&desk, request.clone()), "The sky is cloudy and the temperature is 21.");
    request.tool_choice = ToolChoice::Auto;
    request
        .messages
        .extend([Message::new(Role::Assistant, "The sky is cloudy."), user("who is the leader of the union")]);
    assert!(deed(&desk, request).starts_with("[tram-strike]"));
}
