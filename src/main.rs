//! The `tollgate` command.

use clap::Parser;
use std::process::ExitCode;
use tollgate::process::flags::{Command, Flags, MockLlm};
use tollgate::process::{serve, settings::LogFormat, start_log};
use tollgate::{config, convert, init, mock};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let result = match Flags::parse().command {
        Command::Run(run) => serve::run(&run),
        Command::Check { files } => {
            let problems = config::check_files(&files);
            let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
            if lines.is_empty() { Ok(()) } else { Err(lines.join("\n")) }
        }
        Command::Convert(flags) => {
            convert::run(&flags, &mut std::io::stdout()).map(|report| complain(report.trim_end()))
        }
        Command::Init(flags) => init::run(&flags, &mut std::io::stdin().lock(), &mut std::io::stdout()),
        Command::MockLlm(model) => simulate(&model),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            complain(&message);
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stderr)] // what a person at the terminal asked for
fn complain(message: &str) {
    eprintln!("{message}");
}

fn simulate(model: &MockLlm) -> Result<(), String> {
    start_log(LogFormat::Text, false);
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let address = model.listen;
        let listener = tokio::net::TcpListener::bind(address)
            .await
            .map_err(|error| format!("the simulated model cannot listen on {address}: {error}"))?;
        tracing::info!(%address, "the simulated model is listening");
        let stop = async {
            // Without a handler Ctrl-C ends the process as well.
            let _ = tokio::signal::ctrl_c().await;
        };
        mock::serve(listener, model.options(), stop).await.map_err(|error| error.to_string())
    })
}
