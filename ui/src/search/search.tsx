/** A search or a cross-validation, followed until it has ended. */
import { useEffect, useState } from 'preact/hooks'
import { useLoaded } from '../loaded'
import { Trouble } from '../parts'
import { search } from './ask'
import { FoldsView } from './folds'
import { StudyView } from './study'

const PAUSE = 3000 // ms between two looks at one that goes on

export function Search({ id }: { id: string }) {
  const [turn, next] = useState(0)
  const { value, error } = useLoaded((s) => search(id, s), id, turn)
  const ended = value?.ended
  useEffect(() => {
    if (ended) return
    const timer = setInterval(() => !document.hidden && next((t) => t + 1), PAUSE)
    return () => clearInterval(timer)
  }, [ended])
  useEffect(() => {
    if (value) document.title = `${value.name} · Trainwright studio`
  }, [value?.name])
  if (!value) return error ? <Trouble error={error} /> : <p class="opening">reading the search …</p>
  return (
    <>
      {error && <Trouble error={error} />}
      <section class="head">
        <div class="title">
          <h1>{value.name}</h1>
          <span class="mute">{value.kind === 'search' ? 'search' : 'cross-validation'}{ended ? ', ended' : ''}</span>
        </div>
      </section>
      {value.kind === 'search' ? <StudyView study={value} /> : <FoldsView folds={value} />}
    </>
  )
}
