//! Items of a conversation as a language model is told of them.

use crate::engine::{Message, Role, ToolCall};
use crate::{Content, ItemStatus, words};

/// The messages that items make, oldest first: calls go with what was said before them, and what tools gave goes with
/// their calls. What has no words is left out, except that a turn without a transcript at the end is a silence that wants
/// an answer.
pub(crate) fn messages<'a>(items: impl IntoIterator<Item = (&'a Content, ItemStatus)>) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    let mut items = items.into_iter().peekable();
    while let Some((content, status)) = items.next() {
        match content {
            Content::Message { role, text, .. } => {
                let text = text.as_deref().map_or("", str::trim);
                let silence = *role == Role::User && content.text().is_none() && items.peek().is_none();
                if !text.is_empty() || silence {
                    let interrupted = *role == Role::Assistant && status == ItemStatus::Incomplete;
                    let text = content.text().unwrap_or_default();
                    messages.push(Message { interrupted, ..Message::new(*role, text) });
                }
            }
            Content::Call { call, name, arguments } => {
                let call =
                    ToolCall { id: call.clone(), name: name.clone(), arguments: arguments.clone(), result: None };
                match messages.last_mut() {
                    // A call that was made knowing what another gave is a step of its own.
                    Some(last)
                        if last.role == Role::Assistant && last.calls.iter().all(|call| call.result.is_none()) =>
                    {
                        last.calls.push(call);
                    }
                    _ => messages.push(Message { calls: vec![call], ..Message::new(Role::Assistant, "") }),
                }
            }
            Content::CallOutput { call, output } => {
                let calls = messages.iter_mut().rev().flat_map(|message| &mut message.calls);
                if let Some(made) = calls.into_iter().find(|made| made.id == *call) {
                    made.result = Some(output.clone());
                }
            }
        }
    }
    messages
}

/// How many words an item is for a language model.
pub(crate) fn size(content: &Content) -> u64 {
    match content {
        Content::Message { text, .. } => words(text.as_deref().unwrap_or_default()),
        Content::Call { name, arguments, .. } => words(name) + words(arguments),
        Content::CallOutput { output, .. } => words(output),
    }
}

/// How many words messages are for a language model.
pub(crate) fn told(messages: &[Message]) -> u64 {
    let call = |call: &ToolCall| {
        words(&call.name) + words(&call.arguments) + words(call.result.as_deref().unwrap_or_default())
    };
    messages.iter().map(|message| words(&message.text) + message.calls.iter().map(call).sum::<u64>()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(id: &str) -> Content {
        Content::Call { call: id.into(), name: "clock".into(), arguments: r#"{"zone": "UTC"}"#.into() }
    }

    fn output(id: &str, output: &str) -> Content {
        Content::CallOutput { call: id.into(), output: output.into() }
    }

    /// One line for each message.
    fn show(items: &[Content]) -> String {
        let messages = messages(items.iter().map(|content| (content, ItemStatus::Completed)));
        let line = |message: &Message| {
            let calls: String =
                message.calls.iter().map(|call| format!(" {}={:?}", call.id, call.result.as_deref())).collect();
            format!("{:?}: {}{calls}", message.role, message.text)
        };
        messages.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn calls_go_with_what_was_said_before_them_and_results_with_their_calls() {
        let items = [
            Content::written(Role::User, "What time is it?"),
            Content::written(Role::Assistant, "Let me look."),
            call("a"),
            call("b"),
            output("b", "noon"),
            output("a", "midnight"),
            call("c"),
            output("nobody's", "lost"),
        ];
        insta::assert_snapshot!(show(&items), @r#"
        User: What time is it?
        Assistant: Let me look. a=Some("midnight") b=Some("noon")
        Assistant:  c=None
        "#);
    }

    #[test]
    fn only_a_silence_at_the_end_is_told() {
        let silence = Content::Message { role: Role::User, text: None, spoken: true };
        let noise = Content::Message { role: Role::User, text: Some(" ".into()), spoken: true };
        let asked = Content::written(Role::User, "Hello.");
        assert_eq!(show(&[silence.clone(), noise.clone(), asked.clone(), silence.clone()]), "User: Hello.\nUser: ");
        assert_eq!(show(&[asked, silence, noise]), "User: Hello.");
    }

    #[test]
    fn everything_the_model_reads_is_counted_once() {
        let items = [Content::written(Role::User, "What time is it?"), call("a"), output("a", "It is noon.")];
        let counted: u64 = items.iter().map(size).sum();
        assert_eq!(counted, 4 + 3 + 3);
        assert_eq!(told(&messages(items.iter().map(|content| (content, ItemStatus::Completed)))), counted);
    }
}
