/** Whether the network knows what it knows: of the answers it was so sure of, how many were right. */
import { share } from '../try/answers'

const BINS = 10
const [WIDE, TALL, LEFT, FOOT] = [320, 240, 40, 34]

export function Calibration({ sure, hit }: { sure: number[]; hit: boolean[] }) {
  const bins = Array.from({ length: BINS }, () => ({ n: 0, sure: 0, hit: 0 }))
  sure.forEach((p, i) => {
    const bin = bins[Math.min(BINS - 1, Math.floor(p * BINS))]!
    bin.n += 1
    bin.sure += p
    bin.hit += Number(hit[i])
  })
  const full = bins.filter((b) => b.n)
  const off = full.reduce((sum, b) => sum + Math.abs(b.hit - b.sure), 0) / sure.length
  const most = Math.max(...bins.map((b) => b.n))
  const x = (p: number) => LEFT + p * (WIDE - LEFT - 8)
  const y = (p: number) => 8 + (1 - p) * (TALL - FOOT - 8)
  const over = sure.reduce((a, b) => a + b, 0) / sure.length - hit.filter(Boolean).length / hit.length
  const verdict = off < 0.03 ? 'as sure as it may be' : over > 0 ? 'surer than it may be' : 'less sure than it may be'
  return (
    <figure class="calibration">
      <figcaption>
        <h3>How sure it is, and how often right</h3>
        <span class="mute">
          It is {verdict}: {share(off)} apart on average (expected calibration error, {BINS} bins).
        </span>
      </figcaption>
      <svg viewBox={`0 0 ${WIDE} ${TALL}`} role="img" aria-label={`calibration: ${full.map((b) => `of ${b.n} said with ${share(b.sure / b.n)}, ${share(b.hit / b.n)} right`).join('; ')}`}>
        {[0, 0.5, 1].map((v) => (
          <g key={v}>
            <line class="grid" x1={x(0)} x2={x(1)} y1={y(v)} y2={y(v)} />
            <text x={LEFT - 5} y={y(v) + 4} text-anchor="end">
              {v * 100} %
            </text>
            <text x={x(v)} y={TALL - FOOT + 15} text-anchor={v === 1 ? 'end' : 'middle'}>
              {v * 100} %
            </text>
          </g>
        ))}
        {bins.map((b, i) => b.n > 0 && <rect key={i} class="count" x={x(i / BINS) + 1} width={(x(1) - x(0)) / BINS - 2} y={y(b.n / most)} height={y(0) - y(b.n / most)} />)}
        <line class="ideal" x1={x(0)} y1={y(0)} x2={x(1)} y2={y(1)} />
        <polyline points={full.map((b) => `${x(b.sure / b.n)},${y(b.hit / b.n)}`).join(' ')} />
        {full.map((b, i) => (
          <circle key={i} cx={x(b.sure / b.n)} cy={y(b.hit / b.n)} r={4}>
            <title>{`of ${b.n} said with ${share(b.sure / b.n)}, ${share(b.hit / b.n)} right`}</title>
          </circle>
        ))}
        <text x={x(0.5)} y={TALL - 4} text-anchor="middle">
          how sure; bars: how many
        </text>
      </svg>
    </figure>
  )
}
