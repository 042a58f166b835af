//! Anything a client may send.

use proptest::prelude::*;

use super::*;

/// JSON that looks like a client's event, more or less.
fn almost_an_event() -> impl Strategy<Value = String> {
    let types = prop::sample::select(vec![
        "session.update",
        "input_audio_buffer.append",
        "input_audio_buffer.commit",
        "conversation.item.create",
        "conversation.item.truncate",
        "conversation.item.delete",
        "response.create",
        "response.cancel",
        "anchor.playout",
        "nonsense",
    ]);
    let keys = prop::sample::select(vec![
        "session",
        "audio",
        "item",
        "item_id",
        "input",
        "output",
        "turn_detection",
        "type",
        "content",
        "content_index",
        "audio_end_ms",
        "response",
        "response_id",
        "played_ms",
        "metadata",
        "previous_item_id",
        "format",
        "rate",
        "threshold",
        "event_id",
        "voice",
        "role",
        "text",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        prop::sample::select(vec!["server_vad", "message", "user", "audio/pcm", "AAAA", "AA==", "resp_k_3", "inf"])
            .prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(keys.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    });
    (types, value).prop_map(|(kind, value)| {
        let mut event = value;
        if let Value::Object(fields) = &mut event {
            fields.insert("type".into(), kind.into());
        }
        event.to_string()
    })
}

proptest! {
    #[test]
    fn no_message_breaks_a_session(texts in prop::collection::vec(prop_oneof![".*", almost_an_event()], 1..20)) {
        let mut translator = translator(true);
        for text in &texts {
            if let Err(error) = translator.inbound(text) {
                prop_assert!(!error.code.is_empty() && !error.message.is_empty());
                translator.refuse(error);
            }
            while translator.next_audio().is_some() {}
        }
        let alive = translator.inbound(r#"{"type": "response.create", "event_id": "still here"}"#);
        prop_assert!(matches!(alive, Ok(Some(ClientMessage::Command(_)))));
    }
}
