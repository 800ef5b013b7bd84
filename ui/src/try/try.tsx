/** Try it: drop a file, draw, type, fill in a row; the run's network answers, by the path that `predict` takes. */
import { useSignal, type Signal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import type { About } from '../api'
import { useLoaded } from '../loaded'
import { Empty, Trouble } from '../parts'
import { Answers } from './answers'
import { type Field, type Offered, offered, packed, tried, type Tried } from './ask'
import { Draw } from './draw'
import { Prompt } from './prompt'

export function Try({ run }: { run: About }) {
  const { value: offer, error } = useLoaded((s) => offered(run.key, s), run.key, run.checkpoints.length ? 1 : 0)
  if (error && !offer) return <Trouble error={error} />
  if (!offer) return <p class="opening">opening the network …</p>
  if (offer.closed !== undefined)
    return (
      <Empty title="This run cannot be tried here">
        <p>{offer.closed}.</p>
      </Empty>
    )
  return offer.prompt ? <Prompt id={run.key} usual={offer.prompt} /> : <Give id={run.key} offer={offer} />
}

/** One question at a time; a newer one replaces it. */
export function useAsk(id: string) {
  const told = useSignal<Tried | null>(null)
  const error = useSignal<Error | null>(null)
  const busy = useSignal(false)
  const going = useRef<AbortController | null>(null)
  useEffect(() => () => going.current?.abort(), [])
  const ask = async (given: Record<string, unknown>) => {
    going.current?.abort()
    const mine = (going.current = new AbortController())
    busy.value = true
    try {
      const answer = await tried(id, given, mine.signal)
      if (!mine.signal.aborted) [told.value, error.value] = [answer, null]
    } catch (e) {
      if (!mine.signal.aborted) error.value = e as Error
    }
    if (!mine.signal.aborted) busy.value = false
  }
  return { told, error, busy, ask }
}

function Give({ id, offer }: { id: string; offer: Offered }) {
  const { told, error, busy, ask } = useAsk(id)
  const picture = useSignal('')
  const more = useSignal<Record<string, unknown>>({ give: offer.composes ? 'compose' : offer.continues ? 'continue' : 'file' })
  useEffect(() => () => URL.revokeObjectURL(picture.value), [])
  const drop = async (file: File | Blob, name: string) => {
    if (file.size > offer.largest) {
      error.value = new Error(`${name} has more than ${Math.floor(offer.largest / 2 ** 20)} MB; ask \`trainwright predict\` about it`)
      return
    }
    URL.revokeObjectURL(picture.value)
    picture.value = URL.createObjectURL(file)
    await ask({ ...more.value, name, data: await packed(file) })
  }
  return (
    <div class="try">
      <section class="card" aria-label="what is given">
        <h2>Try it</h2>
        {offer.draw && <Draw form={offer.draw} onDrawn={(png) => void drop(png, 'drawn.png')} onEmpty={() => (told.value = null)} />}
        {offer.text && <Sentence task={offer.task} onText={(text) => void ask({ give: 'text', text })} />}
        {offer.composes && <Compose more={more} onAsk={() => void ask(more.value)} />}
        {offer.continues && (
          <p>
            <button class="main" onClick={() => void ask({ give: 'continue' })}>
              go on from the end of the run's own data
            </button>
          </p>
        )}
        {offer.fields && <Row fields={offer.fields} onRow={(record) => void ask({ give: 'fields', record })} />}
        {offer.files.length > 0 && <Drop files={offer.files} onFile={(f) => void drop(f, f.name)} />}
      </section>
      <section class="card" aria-label="what the network answers" aria-busy={busy.value}>
        <h2>
          The network says {busy.value && <span class="mute">…</span>}
        </h2>
        {error.value && <Trouble error={error.value} />}
        {told.value && !error.value && <Answers told={told.value} picture={picture.value} />}
        {!told.value && !error.value && <p class="mute">{busy.value ? 'It is loaded first, which takes a few seconds.' : 'Nothing was given yet. What is given stays on this machine, and is not kept.'}</p>}
      </section>
    </div>
  )
}

function Drop({ files, onFile }: { files: string[]; onFile: (file: File) => void }) {
  const over = useSignal(false)
  return (
    <label
      class={`drop ${over.value ? 'over' : ''}`}
      onDragOver={(e) => {
        e.preventDefault()
        over.value = true
      }}
      onDragLeave={() => (over.value = false)}
      onDrop={(e) => {
        e.preventDefault()
        over.value = false
        const file = e.dataTransfer?.files[0]
        if (file) onFile(file)
      }}
    >
      <input
        type="file"
        accept={files.join()}
        onChange={(e) => {
          const file = e.currentTarget.files?.[0]
          if (file) onFile(file)
          e.currentTarget.value = ''
        }}
      />
      <span>drop a file here, or choose one</span> <small class="mute">{files.slice(0, 6).join(' ')}{files.length > 6 && ' …'}</small>
    </label>
  )
}

function Sentence({ task, onText }: { task: string; onText: (text: string) => void }) {
  const text = useSignal('')
  return (
    <form
      class="sentence"
      onSubmit={(e) => {
        e.preventDefault()
        if (text.value.trim()) onText(text.value)
      }}
    >
      <textarea
        rows={3}
        aria-label={task === 'translation' ? 'text to translate' : 'text to judge'}
        placeholder={task === 'translation' ? 'a text to translate' : 'a text to judge'}
        value={text.value}
        onInput={(e) => (text.value = e.currentTarget.value)}
      />
      <button class="main" type="submit" disabled={!text.value.trim()}>
        ask
      </button>
    </form>
  )
}

function Compose({ more, onAsk }: { more: Signal<Record<string, unknown>>; onAsk: () => void }) {
  const temperature = useSignal(1)
  const seed = useSignal(0)
  const set = () => (more.value = { ...more.value, temperature: temperature.value, seed: seed.value })
  return (
    <div class="tools">
      <label>
        temperature{' '}
        <input type="range" min={0} max={2} step={0.05} value={temperature.value} onInput={(e) => ((temperature.value = Number(e.currentTarget.value)), set())} />
        <output>{temperature.value.toFixed(2)}</output>
      </label>
      <button class="main" onClick={() => ((seed.value = Math.floor(Math.random() * 1e6)), set(), onAsk())}>
        compose a piece
      </button>
    </div>
  )
}

function Row({ fields, onRow }: { fields: Field[]; onRow: (record: Record<string, unknown>) => void }) {
  const values = useSignal<Record<string, unknown>>(Object.fromEntries(fields.map((f) => [f.name, f.value ?? ''])))
  useEffect(() => {
    const timer = setTimeout(() => onRow(values.value), 150)
    return () => clearTimeout(timer)
  }, [values.value])
  const set = (name: string, value: string, kind: string) =>
    (values.value = { ...values.value, [name]: kind === 'number' && value !== '' && isFinite(Number(value)) ? Number(value) : value })
  return (
    <div class="fields">
      {fields.map((f) => (
        <label key={f.name}>
          <span>{f.name}</span>
          {f.levels && f.levels.length <= 60 ? (
            <select value={String(values.value[f.name] ?? '')} onChange={(e) => set(f.name, e.currentTarget.value, f.kind)}>
              <option value="">(missing)</option>
              {f.levels.map((l) => (
                <option key={l}>{l}</option>
              ))}
            </select>
          ) : (
            <input
              type="text"
              inputMode={f.kind === 'number' ? 'decimal' : 'text'}
              value={String(values.value[f.name] ?? '')}
              onInput={(e) => set(f.name, e.currentTarget.value, f.kind)}
            />
          )}
        </label>
      ))}
    </div>
  )
}
