/** One entry of a conversation. Texts and names of others are shown as text, never as HTML, and nothing is opened. */
import { deliveryText } from '../wording/delivery.ts'
import { clock, dayOf, duration, formatBytes } from '../wording/figures.ts'
import { VERDICTS } from '../wording/verdict.ts'
import type { Entry } from './model.ts'
import { capital, Icon, type IconName } from './parts.tsx'

export interface MessageActions {
  readonly onAgain: (key: number) => void
  readonly onDecide: (key: number, takes: boolean) => void
  readonly onSave: (key: number) => void
  readonly onAdd: (card: string) => void
}

export interface MessageProps {
  readonly entry: Entry
  /** Whether to name the author. */
  readonly isNamed: boolean
  readonly actions: MessageActions
}

/** @param day whether to name the day above the entry: the one before is of another day */
export function Message({ day, ...props }: MessageProps & { readonly day: boolean }) {
  const { entry } = props
  const { from, at } = entry
  return (
    <>
      {day && (
        <p class="day">
          <time dateTime={dayOf(at)}>
            {new Date(at).toLocaleDateString(undefined, { weekday: 'long', day: 'numeric', month: 'long', year: 'numeric' })}
          </time>
        </p>
      )}
      {from === 'note' ? (
        <p class="note" dir="auto">
          {entry.text}
        </p>
      ) : (
        <Bubble {...props} />
      )}
    </>
  )
}

function Bubble({ entry, isNamed, actions }: MessageProps) {
  const { key, from, author, text, verdict, reply, changed, gap, late, card, file, at, expires } = entry
  const state = from === 'me' ? deliveryText(entry) : undefined
  return (
    <article class={`message ${from}`} aria-label={`${from === 'me' ? 'You' : author}, ${clock(at)}`}>
      {gap === true && <p class="remark">A message before this one is missing.</p>}
      {late === true && <p class="remark">Late: it is older than the message above.</p>}
      {expires !== undefined && <p class="remark">Disappears {duration(expires)} after you read it.</p>}
      <div class={verdict === 'genuine' ? 'bubble' : 'bubble doubted'}>
        {verdict !== 'genuine' && (
          <p class="verdict">
            <Icon name="alert" /> <span>{capital(VERDICTS[verdict])}</span>
          </p>
        )}
        {reply !== undefined && (
          <blockquote dir="auto">
            <span class="hidden">In answer to: </span>
            {reply}
          </blockquote>
        )}
        {changed === 'removed' ? (
          <p class="remark">(removed)</p>
        ) : (
          text !== '' && (
            <p class="text" dir="auto">
              {text}
            </p>
          )
        )}
        {file !== undefined && <FileBox entryKey={key} file={file} from={from} actions={actions} />}
        {card !== undefined && (
          <button type="button" onClick={() => actions.onAdd(card)}>
            Add this person
          </button>
        )}
      </div>
      <p class="meta">
        {isNamed && from === 'them' && (
          <span class="author" dir="auto">
            {author}{' '}
          </span>
        )}
        <time dateTime={new Date(at).toISOString()}>{clock(at)}</time>
        {changed === 'edited' && <span> edited</span>}
        {state !== undefined && (
          <span class={`state ${state.role}`}>
            {' '}
            <Icon name={ICON_OF[state.role]} /> {capital(state.text)}
          </span>
        )}
        {state?.role === 'bad' && text !== '' && (
          <>
            {' '}
            <button type="button" class="link" onClick={() => actions.onAgain(key)}>
              Send again
            </button>
          </>
        )}
      </p>
    </article>
  )
}

const ICON_OF: Readonly<Record<'good' | 'warn' | 'bad' | 'dim', IconName>> = { good: 'check', warn: 'clock', dim: 'relay', bad: 'alert' }

function FileBox({
  entryKey,
  file,
  from,
  actions,
}: {
  readonly entryKey: number
  readonly file: NonNullable<Entry['file']>
  readonly from: Entry['from']
  readonly actions: MessageActions
}) {
  const { name, total, moved, state, note } = file
  return (
    <div class="file">
      <p class="title">
        <Icon name="file" />
        <span>
          <bdi class="filename">{name}</bdi> <span class="size">{formatBytes(total)}</span>
        </span>
      </p>
      {state === 'offered' && (
        <p class="row">
          <button type="button" class="primary" onClick={() => actions.onDecide(entryKey, true)}>
            Accept
          </button>
          <button type="button" onClick={() => actions.onDecide(entryKey, false)}>
            Refuse
          </button>
        </p>
      )}
      {state === 'moving' && (
        <p class="progress">
          <progress max={Math.max(1, total)} value={moved} aria-label={from === 'me' ? 'Sent' : 'Received'} />
          <span>
            {from === 'me' && moved === 0 ? 'Waiting for their answer' : `${total === 0 ? 100 : Math.floor((moved / total) * 100)} %`}
          </span>
        </p>
      )}
      {state === 'done' && (
        <p class="state good">
          <Icon name="check" /> They have the whole file
        </p>
      )}
      {(state === 'ready' || state === 'saved') && (
        <p class="row">
          <button type="button" class={state === 'ready' ? 'primary' : ''} onClick={() => actions.onSave(entryKey)}>
            {state === 'ready' ? 'Save' : 'Save again'}
          </button>
          <span class="hint">{state === 'ready' ? 'Complete and undamaged' : 'Saved'}</span>
        </p>
      )}
      {state === 'failed' && (
        <p class="state bad">
          <Icon name="alert" /> <span>{capital(note ?? 'it did not arrive')}</span>
        </p>
      )}
    </div>
  )
}
