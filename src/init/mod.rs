//! `tollgate init`: the guided start. It asks which providers there are and writes a configuration that
//! names keys by reference, and the keys themselves into a file for nobody else's eyes.
//!
//! Nothing is written before everything is known, and nothing is written over unless told so.

mod answers;
mod files;

use answers::{Answers, Asker};
use clap::Args;
use std::io::{BufRead, Write};
use std::path::PathBuf;

/// `tollgate init`: every answer is also a flag.
#[derive(Debug, Args)]
pub struct Init {
    /// The configuration to write.
    #[arg(long, default_value = "kong.yaml", value_name = "FILE")]
    pub config: PathBuf,
    /// The file of keys to write, readable by its owner only.
    #[arg(long, default_value = "tollgate.env", value_name = "FILE")]
    pub env_file: PathBuf,
    /// A provider's key: openai, cohere, azure, anthropic. Better by the environment, where the list of
    /// processes does not show it.
    #[arg(long = "key", env = "TOLLGATE_INIT_KEYS", value_delimiter = ',', hide_env_values = true, value_name = "PROVIDER=KEY", value_parser = pair)]
    pub keys: Vec<(String, String)>,
    /// The address of a local model: mistral, llama2.
    #[arg(long = "url", value_name = "PROVIDER=URL", value_parser = pair)]
    pub urls: Vec<(String, String)>,
    /// Another model than the usual one.
    #[arg(long = "model", value_name = "PROVIDER=MODEL", value_parser = pair)]
    pub models: Vec<(String, String)>,
    /// Another option of a provider: `azure.azure_instance=NAME`.
    #[arg(long = "option", value_name = "PROVIDER.OPTION=VALUE", value_parser = pair)]
    pub options: Vec<(String, String)>,
    /// Prices of a million tokens: `openai=0.15,0.6` for input and output.
    #[arg(long = "price", value_name = "PROVIDER=INPUT,OUTPUT", value_parser = pair)]
    pub prices: Vec<(String, String)>,
    /// Ask nothing: the flags are all there is to know.
    #[arg(long)]
    pub yes: bool,
    /// Write over files that are there.
    #[arg(long)]
    pub force: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it is written PROVIDER=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Asks, writes, and says how to go on.
pub fn run(flags: &Init, input: &mut dyn BufRead, output: &mut dyn Write) -> Result<(), String> {
    for file in [&flags.config, &flags.env_file] {
        if file.exists() && !flags.force {
            return Err(format!("'{}' is there already: name another file, or use --force", file.display()));
        }
    }
    flags.check_names()?;
    let mut asker = Asker { flags, input, output };
    let chosen = asker.ask_all()?;
    if chosen.is_empty() {
        return Err("there is nothing to configure: give a key or the address of a local model".to_owned());
    }
    let configuration = files::configuration(&chosen)?;
    files::write(&flags.env_file, &files::keys(&chosen), flags.force)?;
    files::write(&flags.config, &configuration, flags.force)?;
    tell(flags, &chosen, output).map_err(|error| error.to_string())
}

impl Init {
    /// A provider that is not known is a slip, and not one to be passed over in silence.
    fn check_names(&self) -> Result<(), String> {
        let all = [&self.keys, &self.urls, &self.models, &self.options, &self.prices];
        for (name, _) in all.into_iter().flatten() {
            let provider = name.split('.').next().unwrap_or_default();
            if answers::offer(provider).is_none() {
                return Err(format!("'{provider}' is not one of {}", answers::names()));
            }
        }
        Ok(())
    }
}

fn tell(flags: &Init, chosen: &[Answers], output: &mut dyn Write) -> std::io::Result<()> {
    let (config, keys) = (flags.config.display(), flags.env_file.display());
    writeln!(output, "\nWritten: {config}, and the keys in {keys}. Start the gateway:\n")?;
    writeln!(output, "  set -a; . {}; set +a", files::sourced(&flags.env_file))?;
    writeln!(output, "  tollgate run --config {config}\n\nand ask:\n")?;
    for one in chosen {
        writeln!(
            output,
            "  curl http://localhost:8000/{}/chat -H 'Content-Type: application/json' \
             -d '{{\"messages\": [{{\"role\": \"user\", \"content\": \"What is 1+1?\"}}]}}'",
            one.offer.provider
        )?;
    }
    writeln!(output, "  curl -s http://localhost:8007/metrics | grep ^tollgate_cost")
}
