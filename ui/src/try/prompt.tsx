/** A prompt, what may come behind it with which probability, and the text that is written token by token. */
import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { Trouble } from '../parts'
import { share } from './answers'
import type { How } from './ask'
import { useAsk } from './try'

const SHOWN = 14 // tokens that may come next
const PAUSE = 250 // ms after a key before the network is asked

export function Prompt({ id, usual }: { id: string; usual: How }) {
  const next = useAsk(id)
  const text = useAsk(id)
  const prompt = useSignal('')
  const how = useSignal<How>(usual)
  const tokens = useSignal(80)
  const seed = useSignal(0)
  useEffect(() => {
    const timer = setTimeout(() => void next.ask({ give: 'prompt', prompt: prompt.value, tokens: 0, ...how.value }), PAUSE)
    return () => clearTimeout(timer)
  }, [prompt.value, how.value])
  const write = () => {
    void text.ask({ give: 'prompt', prompt: prompt.value, tokens: tokens.value, seed: seed.value, ...how.value })
    seed.value = Math.floor(Math.random() * 1e6)
  }
  const told = next.told.value?.next?.slice(0, SHOWN) ?? []
  const set = (name: keyof How, value: number) => (how.value = { ...how.value, [name]: value })
  return (
    <div class="try">
      <section class="card" aria-label="what is given">
        <h2>Try it</h2>
        <textarea
          rows={5}
          class="prompt"
          aria-label="prompt"
          placeholder="what the text begins with; empty is where a text begins"
          value={prompt.value}
          onInput={(e) => (prompt.value = e.currentTarget.value)}
        />
        <div class="tools">
          <Slider name="temperature" value={how.value.temperature} most={2} step={0.05} onSet={(v) => set('temperature', v)} />
          <Slider name="top k" value={how.value.top_k} most={50} step={1} none="all" onSet={(v) => set('top_k', v)} />
          <Slider name="top p" value={how.value.top_p} least={0.05} most={1} step={0.05} onSet={(v) => set('top_p', v)} />
          <Slider name="tokens" value={tokens.value} least={1} most={400} step={1} onSet={(v) => (tokens.value = v)} />
        </div>
        <p>
          <button class="main" onClick={write} disabled={text.busy.value}>
            {text.busy.value ? 'writing …' : 'write on'}
          </button>
        </p>
        {text.error.value && <Trouble error={text.error.value} />}
        {text.told.value?.notes?.map((n) => (
          <p key={n} class="unsure">
            {n}
          </p>
        ))}
        {text.told.value?.text !== undefined && !text.error.value && (
          <p class="written" aria-live="polite">
            {text.told.value.text}
          </p>
        )}
      </section>
      <section class="card" aria-label="the next token" aria-busy={next.busy.value}>
        <h2>The next token</h2>
        {next.error.value && <Trouble error={next.error.value} />}
        {!next.error.value && (
          <>
            <p class="mute">
              <i class="swatch said" /> as the network says <i class="swatch chance" /> as it is chosen with these settings. Choose one to put it behind the prompt.
            </p>
            <table class="bars tokens-next">
              <thead class="unseen">
                <tr>
                  <th scope="col">token</th>
                  <th scope="col">bars</th>
                  <th scope="col">probability</th>
                  <th scope="col">chance</th>
                </tr>
              </thead>
              <tbody>
                {told.map(([piece, p, chance]) => (
                  <tr key={piece}>
                    <th scope="row">
                      <button class="token" disabled={/^<.+>$/.test(piece)} onClick={() => (prompt.value += piece)}>
                        {visible(piece)}
                      </button>
                    </th>
                    <td class="lane">
                      <i style={{ width: `${p * 100}%` }} />
                      <i class="chance" style={{ width: `${chance * 100}%` }} />
                    </td>
                    <td>{share(p)}</td>
                    <td class="chance">{share(chance)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </>
        )}
      </section>
    </div>
  )
}

const visible = (piece: string) => piece.replaceAll(' ', '␣').replaceAll('\n', '⏎').replaceAll('\t', '⇥')

interface SliderProps {
  name: string
  value: number
  least?: number
  most: number
  step: number
  none?: string
  onSet: (value: number) => void
}

function Slider({ name, value, least = 0, most, step, none, onSet }: SliderProps) {
  return (
    <label>
      {name}
      <input type="range" min={least} max={most} step={step} value={value} onInput={(e) => onSet(Number(e.currentTarget.value))} />
      <output>{!value && none ? none : step < 1 ? value.toFixed(2) : value}</output>
    </label>
  )
}
