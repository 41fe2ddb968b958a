// Types of `window.genlook`, for widgets written in TypeScript: copy this file, or refer to it with
// /// <reference path="…/tracker.d.ts" />. What each thing does: README.md.

declare namespace genlook {
  /** The catalogue. Any other name of the form `category:action` in snake_case is accepted too. */
  type KnownEvent =
    | "widget:button_click"
    | "widget:image_upload"
    | "widget:generation_start"
    | "widget:result_view"
    | "widget:share_clicked"
    | "widget:download_clicked"
    | "widget:add_to_cart_clicked"
    | "widget:add_to_cart_success"
    | "widget:email_collected"
    | "product_page:page_view"
    | "product_page:cart_add";
  type EventName = KnownEvent | `${string}:${string}`;

  /** Plain data: up to 32 KiB as JSON and 10 levels. */
  type Properties = Record<string, unknown>;

  /** The context of the events that follow. `null` takes a value away. */
  interface Page {
    /** `gid://shopify/Product/…` */
    product_id?: string | null;
    /** `gid://shopify/ProductVariant/…` */
    variant_id?: string | null;
    /** The widget's version. */
    lib_version?: string;
    /** Whether this shopper sees the widget. */
    widget_enabled?: boolean | null;
    /** Where events go, for scripts whose tag has no `data-endpoint`. */
    endpoint?: string;
  }

  /** What is pushed before the tracker has loaded runs when it has. */
  type Call =
    | ["track", EventName, Properties?]
    | ["set", Page]
    | ["consent", boolean];

  interface Tracker {
    track(event: EventName, properties?: Properties): void;
    set(values: Page): void;
    /** The shopper's answer, from a shop that asks by other means than Shopify's. */
    consent(granted: boolean): void;
    /** The arm of the shop's experiment: null without one, or for who is in no arm. */
    arm(): "widget" | "holdout" | null;
    push(call: Call): void;
  }
}

interface Window {
  /** A list until the tracker has loaded: `(window.genlook ??= []).push(["track", …])`. */
  genlook?: genlook.Tracker | genlook.Call[];
}
