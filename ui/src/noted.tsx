/** A person's tags and note about a run; they are kept in the run's folder, beside its log. */
import { useSignal } from '@preact/signals'
import { type About, note } from './api'

export function Noted({ run }: { run: About }) {
  const open = useSignal(false)
  const tags = useSignal('')
  const text = useSignal('')
  const error = useSignal('')
  const begin = () => {
    tags.value = run.tags.join(', ')
    text.value = run.note
    error.value = ''
    open.value = !open.value
  }
  const keep = async (event: Event) => {
    event.preventDefault()
    try {
      const kept = await note(run.key, { tags: tags.value.split(','), note: text.value })
      ;[run.tags, run.note] = [kept.tags, kept.note]
      open.value = false
    } catch (e) {
      error.value = (e as Error).message
    }
  }
  return (
    <>
      <span class="chips">
        {run.tags.map((t) => (
          <span key={t} class="tag">
            {t}
          </span>
        ))}
        <button class="quiet" aria-expanded={open.value} onClick={begin}>
          {run.tags.length || run.note ? 'edit the note' : 'tag or note'}
        </button>
      </span>
      {run.note && !open.value && <p class="note">{run.note}</p>}
      {open.value && (
        <form class="noting card" onSubmit={keep}>
          <label>
            tags, with commas between them
            <input value={tags.value} onInput={(e) => (tags.value = e.currentTarget.value)} />
          </label>
          <label>
            note
            <textarea rows={3} value={text.value} onInput={(e) => (text.value = e.currentTarget.value)} />
          </label>
          {error.value && (
            <p class="trouble" role="alert">
              {error.value}
            </p>
          )}
          <button class="main" type="submit">
            keep
          </button>
        </form>
      )}
    </>
  )
}
