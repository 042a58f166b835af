//! Which voice each member of a chain speaks in.

use anchor_core::engine::{EventStream, Tts, TtsEvent, TtsRequest};
use futures::channel::mpsc;
use futures::{FutureExt, StreamExt};

use crate::chain::relay::Relay;
use crate::chain::{Chain, guarded};
use crate::slot::Slot;

/// Starts the member that has the answer. The best of the chain speaks in the voice asked for; another, or with `foreign`
/// even the best, in a voice of its own where it does not have that.
pub(super) fn start(
    relay: &Relay<dyn Tts>,
    request: &TtsRequest,
    foreign: bool,
) -> (mpsc::UnboundedSender<String>, EventStream<TtsEvent>) {
    // The chain gives out no more clauses than it keeps itself.
    let (feed, text) = mpsc::unbounded();
    let (slot, mut request) = (relay.slot().clone(), request.clone());
    let name = slot.name();
    let events = if relay.is_first() && !foreign {
        guarded(name, move || slot.speak(request, text.boxed()))
    } else {
        let chain = relay.chain().clone();
        guarded(name, move || {
            let asked = request.voice.take();
            let own = slot.clone();
            let chosen = tokio::task::spawn_blocking(move || choose(&chain, &own, asked.as_deref()));
            async move {
                request.voice = chosen.await.unwrap_or_default();
                slot.speak(request, text.boxed())
            }
            .flatten_stream()
            .boxed()
        })
    };
    (feed, events)
}

/// Whether the voice asked for is one of another member than the one that has the answer.
pub(super) async fn is_of_another(relay: &Relay<dyn Tts>, request: &TtsRequest) -> bool {
    let Some(asked) = request.voice.clone() else { return false };
    let (chain, current) = (relay.chain().clone(), relay.slot().name());
    let look = move || {
        let others = chain.members().iter().filter(|member| member.slot.name() != current);
        others.map(|member| &member.slot).any(|slot| slot.voices().iter().any(|voice| voice.name == asked))
    };
    tokio::task::spawn_blocking(look).await.unwrap_or(false)
}

/// The voice of a member: the one asked for, or else its first of the same language, or else its first. Blocks while the
/// member loads.
fn choose(chain: &Chain<dyn Tts>, slot: &Slot<dyn Tts>, asked: Option<&str>) -> Option<String> {
    let own = slot.voices();
    if let Some(asked) = asked
        && own.iter().any(|voice| voice.name == asked)
    {
        return Some(asked.to_owned());
    }
    // Members that are not loaded would be loaded for nothing but this.
    let known: Vec<_> = chain.members().iter().filter_map(|member| member.slot.loaded()).collect();
    let language = known.iter().find_map(|tts| {
        let voices = tts.voices();
        let voice = voices.iter().find(|voice| asked.is_none_or(|asked| voice.name == asked))?;
        Some(voice.language.clone())
    })?;
    own.into_iter().find(|voice| voice.language == language).map(|voice| voice.name)
}
