/** What the network answered: probabilities as bars, boxes on the picture, and all else as it is. */
import { useEffect, useRef } from 'preact/hooks'
import { number, value } from '../format'
import type { Tried } from './ask'
import { Future } from './future'
import { Pixels } from './pixels'
import { Roll } from './roll'

const BARS = 12 // classes that are told, the likeliest first
const HUES = ['#e2703a', '#2f7fd1', '#2b9d4a', '#b0489c', '#c0a11b', '#19a0a8', '#7a5bd0', '#d14b5b']

export function Answers({ told, picture }: { told: Tried; picture?: string | undefined }) {
  const answers = told.answers ?? []
  const first = answers[0]
  return (
    <div class="answers" aria-live="polite">
      {told.notes?.map((note) => (
        <p key={note} class="unsure">
          {note}
        </p>
      ))}
      {first && answers.length === 1 && <One answer={first} picture={picture} />}
      {answers.length > 1 && <Many answers={answers} more={!!told.more} />}
      {told.seen && (
        <figure class="seen">
          <Pixels picture={told.seen} label="as the network is given it" />
          <figcaption class="mute">as the network is given it, {told.seen.size.slice(1).toReversed().join(' × ')}</figcaption>
        </figure>
      )}
      {told.music && <Roll music={told.music} />}
      {told.forecast && (
        <>
          <p class="mute">shaded: {told.intervals}</p>
          {told.forecast.map((s) => (
            <Future key={s.name} series={s} times={told.times ?? []} />
          ))}
        </>
      )}
    </div>
  )
}

type Box = { label: unknown; score: number; box: [number, number, number, number] }

export function One({ answer, picture }: { answer: Record<string, unknown>; picture?: string | undefined }) {
  const { probabilities, boxes, ...rest } = answer
  const known = Object.entries(rest).filter(([name]) => !(probabilities && (name === 'label' || name === 'probability')))
  return (
    <>
      {probabilities !== undefined && 'label' in answer && (
        <p class="says">
          <b>{value(answer['label'])}</b> <span class="mute">{share(answer['probability'] as number)}</span>
        </p>
      )}
      {known.map(([name, v]) =>
        typeof v === 'string' ? (
          <p key={name} class="written">
            {known.length > 1 && <small class="mute">{name} </small>}
            {v}
          </p>
        ) : typeof v === 'number' ? (
          <p key={name} class="says">
            <small class="mute">{name} </small>
            <b>{number(v)}</b>
          </p>
        ) : (
          <p key={name}>
            <small class="mute">{name} </small>
            <code>{value(v).slice(0, 400)}</code>
          </p>
        ),
      )}
      {probabilities !== undefined && <Bars shares={probabilities as Record<string, number>} />}
      {boxes !== undefined && <Boxes boxes={boxes as Box[]} picture={picture} />}
    </>
  )
}

export const share = (p: number) => (p > 0.9995 && p < 1 ? '> 99.9 %' : p > 0 && p < 0.0005 ? '< 0.1 %' : `${(p * 100).toFixed(1)} %`)

export function Bars({ shares, chances }: { shares: Record<string, number>; chances?: Record<string, number> }) {
  const all = Object.entries(shares).sort((a, b) => b[1] - a[1])
  const rest = all.slice(BARS).reduce((sum, [, p]) => sum + p, 0)
  return (
    <table class="bars">
      <tbody>
        {all.slice(0, BARS).map(([name, p]) => (
          <tr key={name}>
            <th scope="row">{name}</th>
            <td class="lane">
              <i style={{ width: `${p * 100}%` }} />
              {chances && <i class="chance" style={{ width: `${(chances[name] ?? 0) * 100}%` }} />}
            </td>
            <td>{share(p)}</td>
            {chances && <td class="chance">{share(chances[name] ?? 0)}</td>}
          </tr>
        ))}
        {all.length > BARS && (
          <tr>
            <th scope="row" class="mute">
              {all.length - BARS} others
            </th>
            <td />
            <td class="mute">{share(rest)}</td>
            {chances && <td />}
          </tr>
        )}
      </tbody>
    </table>
  )
}

function Boxes({ boxes, picture }: { boxes: Box[]; picture?: string | undefined }) {
  const canvas = useRef<HTMLCanvasElement>(null)
  const names = [...new Set(boxes.map((b) => String(b.label)))]
  const hue = (label: unknown) => HUES[names.indexOf(String(label)) % HUES.length]!
  useEffect(() => {
    if (!picture) return
    const image = new Image()
    image.onload = () => {
      const c = canvas.current
      if (!c) return
      c.width = image.naturalWidth
      c.height = image.naturalHeight
      const ctx = c.getContext('2d')!
      const line = Math.max(1, Math.max(c.width, c.height) / 300)
      ctx.drawImage(image, 0, 0)
      ctx.lineWidth = line
      ctx.font = `${Math.max(9, line * 7)}px sans-serif`
      for (const { label, score, box: [x, y, x1, y1] } of boxes.toReversed()) {
        ctx.strokeStyle = ctx.fillStyle = hue(label)
        ctx.strokeRect(x, y, x1 - x, y1 - y)
        ctx.fillText(`${label} ${Math.round(score * 100)} %`, x + line, Math.max(y - line * 1.5, line * 7))
      }
    }
    image.src = picture
  }, [picture, boxes])
  return (
    <>
      <p>{boxes.length ? `${boxes.length} found` : 'Nothing was found.'}</p>
      {picture && <canvas ref={canvas} class="boxes" role="img" aria-label={`the picture with ${boxes.length} boxes`} />}
      <ul class="chips">
        {boxes.slice(0, 30).map((b, i) => (
          <li key={i} class="chip">
            <i class="swatch" style={{ background: hue(b.label) }} />
            {value(b.label)} {share(b.score)}
          </li>
        ))}
      </ul>
    </>
  )
}

function Many({ answers, more }: { answers: Record<string, unknown>[]; more: boolean }) {
  const names = Object.keys(answers[0]!).filter((n) => n !== 'probabilities')
  return (
    <>
      {more && <p class="mute">the first {answers.length} are answered here; `trainwright predict` answers all</p>}
      <div class="scroll" tabIndex={0} role="region" aria-label="answers, scrollable">
        <table>
          <thead>
            <tr>
              {names.map((n) => (
                <th scope="col" key={n}>
                  {n}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {answers.map((a, i) => (
              <tr key={i}>
                {names.map((n) => (
                  <td key={n}>{typeof a[n] === 'number' ? number(a[n] as number) : value(a[n]).slice(0, 200)}</td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  )
}
