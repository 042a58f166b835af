//! `ai-anchor plan`

use clap::ValueEnum;

use crate::cli::Context;
use crate::error::Error;
use crate::memory::{self, CacheType, PlanError, Server, Wishes};

/// Show what fits on the GPU, and with which settings
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Card to plan for, such as rtx6000-48gb or 24gb, instead of the one in this machine
    #[arg(long, value_name = "CARD")]
    gpu: Option<String>,
    /// Servers that are not on this card
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    without: Vec<Kind>,
    /// Quantisation of the language model, such as Q5_K_M, instead of the best that fits
    #[arg(long, value_name = "NAME")]
    quantization: Option<String>,
    /// Context of the language model in tokens, instead of the longest that fits well
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(512..=1_048_576))]
    context: Option<u32>,
    /// Type of the language model's KV cache
    #[arg(long, value_name = "TYPE")]
    kv: Option<Kv>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Stt,
    Llm,
    Tts,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kv {
    F16,
    #[value(name = "q8_0")]
    Q8,
    #[value(name = "q4_0")]
    Q4,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), Error> {
    let config = context.config([])?;
    let card = memory::card(&config, args.gpu.as_deref())?;
    let wishes = args.wishes(Wishes::open(&config))?;
    match memory::plan(&config, &card, &wishes) {
        Ok(plan) => Ok(context.out.result(&memory::json(Ok(&plan)), plan.to_string().trim_end())?),
        Err(PlanError::Refused(refusal)) => {
            context.out.whole(&memory::json(Err(&refusal)))?;
            Err(PlanError::Refused(refusal).into())
        }
        Err(error) => Err(error.into()),
    }
}

impl Args {
    /// What the configuration asks for, with the flags on top.
    fn wishes(self, configured: Wishes) -> Result<Wishes, Error> {
        let mut servers = configured.servers;
        servers.retain(|server| {
            !self.without.contains(&match server {
                Server::Ollama => Kind::Llm,
                Server::Higgs => Kind::Tts,
                Server::Voxtral => Kind::Stt,
            })
        });
        if servers.is_empty() {
            return Err(Error::Usage("nothing is left to plan: --without leaves no server on the card".into()));
        }
        let kv = self.kv.map(|kv| match kv {
            Kv::F16 => CacheType::F16,
            Kv::Q8 => CacheType::Q8_0,
            Kv::Q4 => CacheType::Q4_0,
        });
        Ok(Wishes {
            servers,
            quantization: self.quantization.or(configured.quantization),
            context: self.context.or(configured.context),
            cache_type: kv.or(configured.cache_type),
            ..configured
        })
    }
}
