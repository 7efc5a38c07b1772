/** Types of `preact.js`, as far as the page uses it. */
export interface VNode {
    type: unknown;
    props: Record<string, unknown>;
    key: unknown;
}
export type Child = VNode | string | number | boolean | null | undefined | Child[];
export type Inputs = ReadonlyArray<unknown>;
export type SetState<S> = (next: S | ((before: S) => S)) => void;
export interface Ref<T> {
    current: T;
}

export function html(strings: TemplateStringsArray, ...values: any[]): VNode;
export function h(type: any, props?: Record<string, any> | null, ...children: any[]): VNode;
export function render(node: Child, parent: Element): void;
export function createContext<T>(value: T): { Provider: any; Consumer: any; value?: T };
export function useContext<T>(context: { Provider: any; Consumer: any; value?: T }): T;
export function useState<S>(initial: S | (() => S)): [S, SetState<S>];
export function useState<S = undefined>(): [S | undefined, SetState<S | undefined>];
export function useReducer<S, A>(reducer: (state: S, action: A) => S, initial: S): [S, (action: A) => void];
export function useEffect(effect: () => void | (() => void), inputs?: Inputs): void;
export function useLayoutEffect(effect: () => void | (() => void), inputs?: Inputs): void;
export function useRef<T>(initial: T): Ref<T>;
export function useRef<T>(initial: T | null): Ref<T | null>;
export function useRef<T = undefined>(): Ref<T | undefined>;
export function useImperativeHandle(ref: unknown, create: () => unknown, inputs?: Inputs): void;
export function useMemo<T>(make: () => T, inputs: Inputs): T;
export function useCallback<F extends (...values: any[]) => any>(callback: F, inputs: Inputs): F;
export function useErrorBoundary(callback?: (error: any) => void): [any, () => void];
export class Component<P = any, S = any> {
    constructor(props?: P);
    props: P;
    state: S;
    setState(change: Partial<S> | ((state: S, props: P) => Partial<S>), callback?: () => void): void;
    forceUpdate(callback?: () => void): void;
}
