/** What was found wrong: what, where, since when, by which numbers, what it does, and what to write instead. */
import { useSignal } from '@preact/signals'
import type { About, Finding, Fix, Severity } from './api'
import { number, value, whole } from './format'
import { Empty, SeveritySign } from './parts'

const RANK: Record<Severity, number> = { error: 0, warning: 1, note: 2 }

export function Findings({ run }: { run: About }) {
  const found = run.found.toSorted((a, b) => RANK[a.severity] - RANK[b.severity] || a.step - b.step)
  if (!found.length && !run.skipped.length && !run.unreadable)
    return (
      <Empty title="Nothing was found wrong">
        <p>What a check finds before, while and after the training appears here, with its evidence and what to do.</p>
      </Empty>
    )
  return (
    <div class="findings">
      {found.map((f, i) => (
        <Card key={i} found={f} />
      ))}
      {run.skipped.length > 0 && <Skipped run={run} />}
      {run.unreadable > 0 && (
        <article class="card finding warning">
          <h2>
            <SeveritySign severity="warning" /> {run.unreadable} lines of events.jsonl cannot be read
          </h2>
        </article>
      )}
    </div>
  )
}

function Card({ found: f }: { found: Finding }) {
  return (
    <article class={`card finding ${f.severity}`}>
      <h2>
        <SeveritySign severity={f.severity} /> {f.what}
      </h2>
      <p class="mute">
        {f.rule} · {f.where && <>{f.where} · </>}
        {f.step ? `at step ${whole(f.step)}` : 'before the first step'}
      </p>
      {f.why && <p>{f.why}</p>}
      {Object.keys(f.evidence).length > 0 && (
        <dl class="evidence">
          {Object.entries(f.evidence).map(([name, v]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{number(v)}</dd>
            </div>
          ))}
        </dl>
      )}
      {f.fixes.length > 0 && (
        <>
          <h3>What to do</h3>
          <ol class="fixes">
            {f.fixes.map((fix, i) => (
              <li key={i}>
                <Remedy fix={fix} />
              </li>
            ))}
          </ol>
        </>
      )}
    </article>
  )
}

function Remedy({ fix }: { fix: Fix }) {
  const copied = useSignal(false)
  if (fix.kind !== 'patch') return <>{fix.text}</>
  const text = Object.entries(fix.changes)
    .map(([key, v]) => `${key} = ${typeof v === 'string' ? JSON.stringify(v) : value(v)}`)
    .join('\n')
  const copy = async () => {
    await navigator.clipboard.writeText(text)
    copied.value = true
    setTimeout(() => (copied.value = false), 1500)
  }
  return (
    <span class="patch">
      <code>{text}</code>
      <button class="quiet" onClick={copy}>
        {copied.value ? 'copied' : 'copy'}
      </button>
    </span>
  )
}

function Skipped({ run }: { run: About }) {
  return (
    <article class="card finding error">
      <h2>
        <SeveritySign severity="error" />{' '}
        {run.skipped.length === 1 ? 'One step was not taken' : `${run.skipped.length} steps were not taken`}: loss or
        gradient was not finite
      </h2>
      <ul>
        {run.skipped.slice(0, 20).map((s) => (
          <li key={s.step}>
            step {whole(s.step)}: {s.what}
            {s.places.length > 0 && <span class="mute"> · {s.places.join(', ')}</span>}
            {s.incident && <span class="mute"> · kept in {s.incident}, see `trainwright replay`</span>}
          </li>
        ))}
      </ul>
    </article>
  )
}
