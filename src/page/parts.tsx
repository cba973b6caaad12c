/** Small parts that several screens use. */
import { encodeQR } from 'qr'
import type { ComponentChildren } from 'preact'
import { useEffect, useId, useState } from 'preact/hooks'
import { whyOf } from './check.ts'
import type { State } from './model.ts'
import type { Talk } from './talk.ts'

/** Returns the state of the page, and draws again when it changes. */
export function useTalk(talk: Talk): State {
  const [state, setState] = useState(talk.state)
  useEffect(() => {
    setState(talk.state)
    return talk.subscribe(() => setState(talk.state))
  }, [talk])
  return state
}

/** An action that may fail: runs it, and keeps its error for the user. */
export function useAction(): { readonly problem: string | undefined; readonly busy: boolean; run(work: () => Promise<void>): void } {
  const [problem, setProblem] = useState<string>()
  const [busy, setBusy] = useState(false)
  return {
    problem,
    busy,
    run(work) {
      setBusy(true)
      setProblem(undefined)
      work()
        .catch((error: unknown) => setProblem(whyOf(error)))
        .finally(() => setBusy(false))
    },
  }
}

/** An error that a screen reader announces. */
export function Problem({ text }: { readonly text: string | undefined }) {
  return (
    <div role="alert">
      {text !== undefined && (
        <p class="problem">
          <Icon name="alert" /> <span>{capital(text)}.</span>
        </p>
      )}
    </div>
  )
}

/** A label, its input, and a hint below it. */
export function Field({
  label,
  hint,
  children,
}: {
  readonly label: string
  readonly hint?: string | undefined
  readonly children: (ids: { readonly id: string; readonly 'aria-describedby'?: string }) => ComponentChildren
}) {
  const id = useId()
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {children({ id, ...(hint !== undefined && { 'aria-describedby': `${id}-hint` }) })}
      {hint !== undefined && (
        <p class="hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
    </div>
  )
}

/** A text to copy. Without the right to write to the clipboard, it selects the text. */
export function Copy({ text, label }: { readonly text: string; readonly label: string }) {
  const [told, setTold] = useState('')
  const id = useId()
  const copy = async (): Promise<void> => {
    const field = document.getElementById(id) as HTMLTextAreaElement
    field.select()
    try {
      await navigator.clipboard.writeText(text)
      setTold('Copied')
    } catch {
      setTold('Press Ctrl+C to copy the selected text')
    }
  }
  return (
    <div class="copy">
      <label for={id}>{label}</label>
      <textarea id={id} readOnly rows={4} value={text} spellcheck={false} dir="ltr" onFocus={(event) => event.currentTarget.select()} />
      <p class="row">
        <button type="button" onClick={() => void copy()}>
          Copy
        </button>
        <span role="status" class="hint">
          {told}
        </span>
      </p>
    </div>
  )
}

/** A QR code of a text, black on white; nothing if the text is too long. */
export function Code({ text, label }: { readonly text: string; readonly label: string }) {
  let rows: boolean[][]
  try {
    rows = encodeQR(text, 'raw', { ecc: 'low', border: 4 })
  } catch {
    return null
  }
  const path = rows.flatMap((row, y) => row.flatMap((isDark, x) => (isDark ? [`M${x} ${y}h1v1h-1z`] : []))).join('')
  return (
    <svg class="code" role="img" aria-label={label} viewBox={`0 0 ${rows.length} ${rows.length}`} shape-rendering="crispEdges">
      <path fill="#fff" d={`M0 0h${rows.length}v${rows.length}H0z`} />
      <path fill="#000" d={path} />
    </svg>
  )
}

const ICONS = {
  alert: 'M12 3 2 20h20zM12 10v4M12 17v.5',
  back: 'M15 5l-7 7 7 7',
  clip: 'M20 11l-8.5 8.5a5 5 0 0 1-7-7L13 4a3.3 3.3 0 0 1 4.7 4.7L9.4 17a1.7 1.7 0 0 1-2.4-2.4L14.5 7',
  send: 'M4 12h15M13 6l6 6-6 6',
  plus: 'M12 5v14M5 12h14',
  card: 'M3 5h18v14H3zM7 10h4M7 14h7M15 9h2v2h-2z',
  save: 'M12 4v11M7 10l5 5 5-5M4 20h16',
  check: 'M4 12l5 5L20 6',
  shield: 'M12 3l8 3v6c0 5-3.5 7.5-8 9-4.5-1.5-8-4-8-9V6z',
  person: 'M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4 21c1-4 4-6 8-6s7 2 8 6',
  file: 'M6 3h8l4 4v14H6zM14 3v4h4',
  down: 'M12 5v14M6 13l6 6 6-6',
  clock: 'M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 7v5l3 3',
  relay: 'M4 5h16v6H4zM4 13h16v6H4zM8 8h.1M8 16h.1',
} as const

export type IconName = keyof typeof ICONS

/** A drawing beside a word that says the same, so screen readers skip it. */
export function Icon({ name }: { readonly name: IconName }) {
  return (
    <svg class="icon" aria-hidden="true" viewBox="0 0 24 24">
      <path d={ICONS[name]} />
    </svg>
  )
}

/** Begins a text with a capital letter. */
export function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}

/** Has the browser save a file. It gets no type that a browser runs. */
export function download(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob)
  const link = document.createElement('a')
  link.href = url
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(url), 60_000)
}
